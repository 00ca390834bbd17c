//! What a customer does who moves between Microsoft's seats and a license of the publisher.

use std::fmt;
use std::str::FromStr;

use super::super::UnknownWord;
use super::super::product::words;

words!(
    /// To which system a customer moves.
    SwitchTo, "system to move to" {
        /// From seats to a license of the publisher.
        License = "license",
        /// From a license to seats that Microsoft manages.
        Appsource = "appsource",
    }
);

words!(
    /// A step of the move.
    SwitchAct, "step" {
        /// Who holds seats is read.
        Read = "read",
        /// The license is sold.
        Issue = "issue",
        /// The customer makes it known to his visuals.
        Activate = "activate",
        /// Its maximum is raised.
        Raise = "raise",
        /// Everybody who holds a seat is covered by it.
        Cover = "cover",
        /// The purchase of the seats is kept from renewing itself.
        StopRenewal = "stop_renewal",
        /// The seats end.
        Lapse = "lapse",
        /// Seats are bought.
        Buy = "buy",
        /// Everybody who has a place gets one.
        Assign = "assign",
        /// The license is cancelled: it ends with its period.
        Cancel = "cancel",
        /// The tenant is let go of a license that others go on using.
        Release = "release",
        /// The license ends.
        Expire = "expire",
    }
);
