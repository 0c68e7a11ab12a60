//! The way to the API of a cluster.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::fault::chain;
use crate::settings::Access;

/// Connects to nothing yet: what is wrong with the server shows later.
///
/// Returns `None` where there is no cluster and none is asked for.
///
/// # Errors
///
/// Why there is no way, for people.
pub(crate) async fn client(access: &Access) -> Result<Option<Client>, String> {
    let mut config = match access {
        Access::Automatic => match Config::incluster_env() {
            Ok(config) => config,
            // Without its variables this is no pod; whatever else is wrong is a fault.
            Err(kube::config::InClusterError::ReadEnvironmentVariable(_)) => return Ok(None),
            Err(error) => return Err(chain(&error)),
        },
        Access::Kubeconfig { path, context } => {
            let file = Kubeconfig::read_from(path).map_err(|error| chain(&error))?;
            let options =
                KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| chain(&error))?
        }
    };
    // Requests are made again here, where it is seen and told.
    config.default_retry = false;
    Client::try_from(config).map(Some).map_err(|error| chain(&error))
}
