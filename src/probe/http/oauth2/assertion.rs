//! Assertions about ourselves, signed with our key (RFC 7523): what a token server takes in place of a secret.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{self, RsaEncoding};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

/// What is asked with it.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long it holds: as Prometheus has it.
const LIFETIME: Duration = Duration::from_mins(10);

/// How it is signed (RFC 7518, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// With SHA-384.
    Rs384,
    /// With SHA-512.
    Rs512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Rs256 => &signature::RSA_PKCS1_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_SHA512,
        }
    }
}

/// What is said in assertions, and the key that they are signed with.
pub struct Assertion {
    /// How they are signed.
    pub algorithm: Algorithm,
    /// Our key.
    pub key: KeyPair,
    /// Its name, where the server knows several.
    pub key_id: Option<String>,
    /// The claims that are the same in each: who says so, of whom, the scope, and others.
    pub claims: Map<String, Value>,
    /// For whom they are.
    pub audience: String,
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Assertion {
    /// Reads an RSA key in PEM (PKCS #1 or #8).
    ///
    /// # Errors
    /// What is wrong with it, as a predicate of it, without a word of it.
    pub fn key(pem: &[u8]) -> Result<KeyPair, &'static str> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key in PEM")?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err("is not an RSA key"),
        };
        key.map_err(|_| "is not an RSA key of 2048 bits or more")
    }

    /// An assertion that holds from `now` on, in the compact form of RFC 7515.
    ///
    /// # Errors
    /// That it cannot be signed.
    pub(super) fn sign(&self, now: SystemTime) -> Result<String, String> {
        let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| "there are no random numbers")?;
        let mut claims = Map::from_iter([
            ("jti".to_owned(), BASE64_URL_SAFE_NO_PAD.encode(id).into()),
            ("aud".to_owned(), self.audience.as_str().into()),
            ("iat".to_owned(), issued.as_secs().into()),
            ("exp".to_owned(), (issued + LIFETIME).as_secs().into()),
        ]);
        claims.extend(self.claims.clone());
        let mut header = json!({"alg": self.algorithm.name(), "typ": "JWT"});
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(&Value::Object(claims)));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(self.algorithm.encoding(), &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the key cannot sign so")?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, UnparsedPublicKey};

    use super::*;

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_can_be_verified_and_says_what_it_is_to() {
        let algorithms = [
            (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
            (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
        ];
        let der: Pkcs8V1Der<'_> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        for (algorithm, verification) in algorithms {
            let key = KeyPair::from_pkcs8(der.as_ref()).unwrap();
            let public = key.public_key().as_ref().to_vec();
            let claims = Map::from_iter([("iss".to_owned(), "me".into()), ("exp".to_owned(), 7.into())]);
            let assertion =
                Assertion { algorithm, key, key_id: Some("k".into()), claims, audience: "https://t/".into() };
            let signed = assertion.sign(UNIX_EPOCH + Duration::from_secs(1000)).unwrap();
            let (message, signature) = signed.rsplit_once('.').unwrap();
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
            UnparsedPublicKey::new(verification, &public).verify(message.as_bytes(), &signature).unwrap();
            let (header, claims) = message.split_once('.').unwrap();
            assert_eq!(decoded(header), json!({"alg": algorithm.name(), "typ": "JWT", "kid": "k"}));
            let mut claims = decoded(claims);
            assert_eq!(claims["jti"].take().as_str().map(str::len), Some(22));
            assert_eq!(claims, json!({"iss": "me", "jti": null, "aud": "https://t/", "iat": 1000, "exp": 7}));
        }
        assert!(Assertion::key(b"x").is_err());
    }
}
