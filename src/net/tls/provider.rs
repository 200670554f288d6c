//! The cryptography of every connection: rustls' own of aws-lc-rs, in Go's order, and with what servers of companies need beside it.

use std::sync::{Arc, LazyLock};

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};

use super::group::SECP521R1;
use super::signatures;

/// The cryptography, named: with two in the build, rustls' own choice would be a panic.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let default = aws_lc_rs::default_provider();
    let groups: [&'static dyn SupportedKxGroup; 1] = [SECP521R1];
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(has_aes()),
        kx_groups: default.kx_groups.iter().copied().chain(groups).collect(),
        signature_verification_algorithms: signatures::SUPPORTED,
        ..default
    })
});

/// The cipher suites, in the order in which Go prefers them: the one that a server chooses which leaves the choice to us is a label.
fn cipher_suites(has_aes: bool) -> Vec<SupportedCipherSuite> {
    let mut ciphers = [
        (
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
    ];
    if !has_aes {
        ciphers.rotate_right(1);
    }
    let tls12 = ciphers.iter().flat_map(|(_, ecdsa, rsa)| [*ecdsa, *rsa]);
    tls12.chain(ciphers.iter().map(|(tls13, ..)| *tls13)).collect()
}

/// Whether the processor has what makes AES-GCM the faster cipher, by Go's measure.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("aes") && has!("pclmulqdq") && has!("sse4.1") && has!("ssse3")
}

/// Whether the processor has what makes AES-GCM the faster cipher, by Go's measure.
#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    has!("aes") && has!("pmull")
}

/// Of other processors it is not asked.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_offered_and_the_order_is_go_s() {
        let names = |has_aes| {
            let suites = cipher_suites(has_aes);
            suites.iter().map(|suite| format!("{:?}", suite.suite())).collect::<Vec<_>>()
        };
        assert_eq!(names(true).len(), aws_lc_rs::ALL_CIPHER_SUITES.len());
        assert_eq!(
            names(true),
            [
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS13_AES_128_GCM_SHA256",
                "TLS13_AES_256_GCM_SHA384",
                "TLS13_CHACHA20_POLY1305_SHA256",
            ]
        );
        assert_eq!(
            names(false),
            [
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS13_CHACHA20_POLY1305_SHA256",
                "TLS13_AES_128_GCM_SHA256",
                "TLS13_AES_256_GCM_SHA384",
            ]
        );
    }
}
