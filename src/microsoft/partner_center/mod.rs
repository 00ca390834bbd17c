//! Partner Center: the licence report, from its analytics API or by hand as a file.

mod cell;
mod table;

pub use self::table::{
    LicenceRow, LicenceTable, NoLicenceTable, OddRow, REPORT_ROWS_MAX, licence_table,
};
