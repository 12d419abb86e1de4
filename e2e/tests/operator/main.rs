//! The whole operator against a real API server and the fake workspace over TLS.

mod verdict;
