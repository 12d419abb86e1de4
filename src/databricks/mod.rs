//! The Jobs API client: requests, answers, errors, tokens, rate limit. It knows nothing of Kubernetes and can be used
//! alone; what it needs from outside (a secret) comes through a trait. It never follows a redirect, never reads a body
//! without a cap, never calls without a deadline, and never repeats a POST that may have been executed.

pub mod error;
pub mod ids;
pub mod model;
