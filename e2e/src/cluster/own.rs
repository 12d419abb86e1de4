//! A cluster that this process starts for itself.

use super::{Cluster, ControlPlane, error::Error};

/// Names the image to start a container of.
const IMAGE: &str = "E2E_CONTAINER_IMAGE";

/// A cluster that ends with this process at the latest.
pub enum Own {
    /// Of processes on this machine.
    Processes(Box<ControlPlane>),
    /// Of a container.
    #[cfg(feature = "testcontainers")]
    Container(Box<super::Container>),
}

impl Own {
    /// Starts a container where `E2E_CONTAINER_IMAGE` names an image, else processes; waits until the API server is ready.
    pub async fn start() -> Result<Self, Error> {
        match std::env::var(IMAGE) {
            Ok(image) if !image.is_empty() => Self::of_image(&image).await,
            _ => Ok(Self::Processes(Box::new(ControlPlane::builder().start().await?))),
        }
    }

    #[cfg(feature = "testcontainers")]
    async fn of_image(image: &str) -> Result<Self, Error> {
        Ok(Self::Container(Box::new(super::Container::start(image).await?)))
    }

    #[cfg(not(feature = "testcontainers"))]
    #[expect(clippy::unused_async, reason = "as the other")]
    async fn of_image(image: &str) -> Result<Self, Error> {
        let reason = "this was compiled without containers: cargo test -p e2e --features testcontainers".to_owned();
        Err(Error::Container { image: image.to_owned(), reason })
    }

    /// How to reach it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        match self {
            Self::Processes(control_plane) => control_plane.cluster(),
            #[cfg(feature = "testcontainers")]
            Self::Container(container) => container.cluster(),
        }
    }
}
