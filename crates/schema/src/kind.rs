//! The kinds of payloads.

use crate::table;

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadKind {
    /// Somebody logged in.
    UserLogin,
    /// Somebody logged out.
    UserLogout,
    /// Somebody made an account.
    UserSignup,
    /// Somebody changed their profile.
    UserProfileUpdate,
    /// A screen was shown.
    ScreenView,
    /// A screen was left.
    ScreenExit,
    /// A button was tapped.
    ButtonTap,
    /// A finger was swiped over the screen.
    SwipeGesture,
    /// A container was scrolled.
    ScrollEvent,
    /// A text field was filled in.
    TextInput,
    /// An element was pressed for long.
    LongPress,
    /// An element was tapped twice.
    DoubleTap,
    /// A product was looked at.
    ProductView,
    /// A product was put into a cart.
    AddToCart,
    /// A product was taken out of a cart.
    RemoveFromCart,
    /// Somebody went to the checkout.
    CheckoutStart,
    /// One step of the checkout was done.
    CheckoutStep,
    /// Something was bought.
    PurchaseComplete,
    /// Something could not be bought.
    PurchaseFailed,
    /// The application was started.
    AppStart,
    /// The application went to the background.
    AppBackground,
    /// The application came back to the foreground.
    AppForeground,
    /// The application crashed.
    AppCrash,
    /// The device's network changed.
    NetworkChange,
    /// The application asked for a permission.
    PermissionRequest,
    /// A permission was given or refused.
    PermissionResult,
    /// Memory became scarce.
    MemoryWarning,
    /// The battery's level or state changed.
    BatteryChange,
    /// Whatever the application calls it.
    CustomEvent,
}

impl PayloadKind {
    /// All of them, ascending by number.
    pub const ALL: &[Self] = table::PAYLOADS;

    /// Returns the number of its field in the envelope, as in 100.
    #[must_use]
    pub fn number(self) -> u32 {
        table::payload_field(self).number
    }

    /// Returns the name of its field in the envelope, as in `screen_view`.
    #[must_use]
    pub fn field_name(self) -> &'static str {
        table::payload_field(self).name
    }

    /// Returns the payload whose field in the envelope has this number.
    #[must_use]
    pub const fn by_number(number: u32) -> Option<Self> {
        table::payload_kind(number)
    }

    /// Returns what it belongs to: `user`, `screen`, `interaction`, `commerce`, `system` or `custom`.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::UserLogin | Self::UserLogout | Self::UserSignup | Self::UserProfileUpdate => {
                "user"
            }
            Self::ScreenView | Self::ScreenExit => "screen",
            Self::ButtonTap
            | Self::SwipeGesture
            | Self::ScrollEvent
            | Self::TextInput
            | Self::LongPress
            | Self::DoubleTap => "interaction",
            Self::ProductView
            | Self::AddToCart
            | Self::RemoveFromCart
            | Self::CheckoutStart
            | Self::CheckoutStep
            | Self::PurchaseComplete
            | Self::PurchaseFailed => "commerce",
            Self::AppStart
            | Self::AppBackground
            | Self::AppForeground
            | Self::AppCrash
            | Self::NetworkChange
            | Self::PermissionRequest
            | Self::PermissionResult
            | Self::MemoryWarning
            | Self::BatteryChange => "system",
            Self::CustomEvent => "custom",
        }
    }

    /// Returns its name within the category; `None` for [`PayloadKind::CustomEvent`], which bears its own.
    #[must_use]
    pub const fn type_name(self) -> Option<&'static str> {
        Some(match self {
            Self::UserLogin => "login",
            Self::UserLogout => "logout",
            Self::UserSignup => "signup",
            Self::UserProfileUpdate => "profile_update",
            Self::ScreenView => "view",
            Self::ScreenExit => "exit",
            Self::ButtonTap => "button_tap",
            Self::SwipeGesture => "swipe",
            Self::ScrollEvent => "scroll",
            Self::TextInput => "text_input",
            Self::LongPress => "long_press",
            Self::DoubleTap => "double_tap",
            Self::ProductView => "product_view",
            Self::AddToCart => "add_to_cart",
            Self::RemoveFromCart => "remove_from_cart",
            Self::CheckoutStart => "checkout_start",
            Self::CheckoutStep => "checkout_step",
            Self::PurchaseComplete => "purchase_complete",
            Self::PurchaseFailed => "purchase_failed",
            Self::AppStart => "app_start",
            Self::AppBackground => "app_background",
            Self::AppForeground => "app_foreground",
            Self::AppCrash => "app_crash",
            Self::NetworkChange => "network_change",
            Self::PermissionRequest => "permission_request",
            Self::PermissionResult => "permission_result",
            Self::MemoryWarning => "memory_warning",
            Self::BatteryChange => "battery_change",
            Self::CustomEvent => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_number() {
        assert_eq!(PayloadKind::ALL.len(), 29);
        for kind in PayloadKind::ALL {
            assert_eq!(PayloadKind::by_number(kind.number()), Some(*kind));
        }
        assert_eq!(PayloadKind::by_number(7), None);
        assert_eq!(PayloadKind::by_number(901), None);
    }
}
