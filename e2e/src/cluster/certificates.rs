//! Certificates and keys of one control plane, made anew for each: nothing outside can be mistaken for it, or be asked by it.

use std::{fs, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::{error::Error, folder::Folder};

/// The names under which clients reach the API server, here and from inside a cluster.
const SERVER_NAMES: [&str; 5] =
    ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// Where the API server and the controller manager find them, and what goes into a kubeconfig.
pub(super) struct Certificates {
    pub(super) authority_file: PathBuf,
    pub(super) server_certificate_file: PathBuf,
    pub(super) server_key_file: PathBuf,
    /// Signs the tokens of service accounts.
    pub(super) token_key_file: PathBuf,
    /// Proves them.
    pub(super) token_public_key_file: PathBuf,
    pub(super) authority: String,
    /// Of a person who may do everything.
    pub(super) admin_certificate: String,
    pub(super) admin_key: String,
}

impl Certificates {
    /// Makes all of them and writes those that are needed as files.
    pub(super) fn create(folder: &Folder) -> Result<Self, Error> {
        let mut params = named("control-plane", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority_key = KeyPair::generate()?;
        let authority = params.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(params, authority_key);

        let server_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_certificate = server.signed_by(&server_key, &issuer)?.pem();

        let admin_key = KeyPair::generate()?;
        let mut admin = named("admin", Some("system:masters"));
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let admin_certificate = admin.signed_by(&admin_key, &issuer)?.pem();

        let token_key = KeyPair::generate()?;
        let write = |name: &str, content: &str| {
            let path = folder.file(name);
            fs::write(&path, content).map_err(Error::system("write", &path)).map(|()| path)
        };
        Ok(Self {
            authority_file: write("ca.crt", &authority)?,
            server_certificate_file: write("apiserver.crt", &server_certificate)?,
            server_key_file: write("apiserver.key", &server_key.serialize_pem())?,
            token_key_file: write("service-accounts.key", &token_key.serialize_pem())?,
            token_public_key_file: write("service-accounts.pub", &token_key.public_key_pem())?,
            authority,
            admin_certificate,
            admin_key: admin_key.serialize_pem(),
        })
    }
}

/// Kubernetes takes the common name for the user and the organisation for the group.
fn named(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params
}
