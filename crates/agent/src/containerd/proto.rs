//! Messages and clients, made from the files in `proto/`.

macro_rules! packages {
    ($($(#[$attribute:meta])* $module:ident = $package:literal;)+) => {
        $(
            $(#[$attribute])*
            #[allow(
                missing_docs,
                unreachable_pub,
                dead_code,
                clippy::all,
                clippy::allow_attributes_without_reason,
                reason = "it is generated, and not everything in it is used"
            )]
            pub(crate) mod $module {
                tonic::include_proto!($package);
            }
        )+
    };
}

packages! {
    content = "containerd.services.content.v1";
    events = "containerd.services.events.v1";
    images = "containerd.services.images.v1";
    leases = "containerd.services.leases.v1";
    snapshots = "containerd.services.snapshots.v1";
    version = "containerd.services.version.v1";
    #[cfg(feature = "testing")]
    cri = "runtime.v1";
}
