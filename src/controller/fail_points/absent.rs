//! No fail points: what production is built with.

use super::When;
use crate::api::run::RunObject;
use crate::api::status::DatabricksRunStatus;
use crate::controller::ports::Place;
use crate::lifecycle::{Effect, MetadataChange};

#[inline]
pub(in crate::controller) fn of_write(_: When, _: &Place, _: &RunObject, _: &DatabricksRunStatus) {}

#[inline]
pub(in crate::controller) fn of_mark(_: When, _: &Place, _: &MetadataChange) {}

#[inline]
pub(in crate::controller) fn of_call(_: When, _: &Place, _: &Effect) {}

#[inline]
pub(in crate::controller) fn of_delete(_: When, _: &Place) {}
