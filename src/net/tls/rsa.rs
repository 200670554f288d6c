//! RSA signatures by keys of 1024 to 2047 bits, which Go verifies and aws-lc-rs, but for a few, does not.
//!
//! Everything in here is public: key, message and signature. So nothing needs to take the same time whatever it is given.

use aws_lc_rs::digest;
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

/// How a digest fills a signature (RFC 8017).
#[derive(Debug, Clone, Copy)]
pub(super) enum Padding {
    /// RSASSA-PKCS1-v1_5, section 8.2.
    Pkcs1,
    /// RSASSA-PSS, section 8.1, with MGF1, the same hash function there, and a salt as long as the digest.
    Pss,
}

/// A hash function of the SHA-2 family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hash {
    /// The function.
    pub(super) algorithm: &'static digest::Algorithm,
    /// The last number of its OID, behind 2.16.840.1.101.3.4.2 (RFC 8017, appendix B.1).
    pub(super) oid: u8,
}

/// The longest public exponent that is taken, in bits: Go's.
const LONGEST_EXPONENT: u64 = 31;

/// Whether a key of 1024 to 2047 bits, a DER `RSAPublicKey`, has made a signature of a message.
pub(super) fn is_signed(padding: Padding, hash: Hash, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    Key::of_der(key)
        .filter(|key| (1024..2048).contains(&key.bits()))
        .and_then(|key| Some(key.is_signed(padding, hash, message, &key.open(signature)?)))
        .unwrap_or(false)
}

/// A public key.
struct Key {
    modulus: BigUint,
    exponent: BigUint,
}

impl Key {
    fn of_der(der: &[u8]) -> Option<Self> {
        let (rest, key) = RSAPublicKey::from_der(der).ok()?;
        // A number whose first bit is set is negative.
        let number =
            |bytes: &[u8]| bytes.first().is_some_and(|first| *first < 0x80).then(|| BigUint::from_bytes_be(bytes));
        let (modulus, exponent) = (number(key.modulus)?, number(key.exponent)?);
        let is_sound = modulus.bit(0) && exponent.bit(0) && (2..=LONGEST_EXPONENT).contains(&exponent.bits());
        (rest.is_empty() && is_sound).then_some(Self { modulus, exponent })
    }

    fn bits(&self) -> u64 {
        self.modulus.bits()
    }

    /// What a signature says, as long as the modulus (RSAVP1, section 5.2.2).
    fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        let length = self.bits().div_ceil(8) as usize;
        let number = BigUint::from_bytes_be(signature);
        if signature.len() != length || number >= self.modulus {
            return None;
        }
        let said = number.modpow(&self.exponent, &self.modulus).to_bytes_be();
        Some([vec![0; length - said.len()], said].concat())
    }

    fn is_signed(&self, padding: Padding, hash: Hash, message: &[u8], said: &[u8]) -> bool {
        let digest = digest::digest(hash.algorithm, message);
        match padding {
            Padding::Pkcs1 => pkcs1(hash, digest.as_ref(), said.len()).is_some_and(|expected| said == expected),
            Padding::Pss => is_pss(hash, digest.as_ref(), said, self.bits() as usize - 1),
        }
    }
}

/// A digest as a signature of a length must say it (EMSA-PKCS1-v1_5, section 9.2).
fn pkcs1(hash: Hash, digest: &[u8], length: usize) -> Option<Vec<u8>> {
    let digest_length = digest.len() as u8;
    let mut info = vec![0x30, 17 + digest_length, 0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, hash.oid];
    info.extend([0x05, 0, 0x04, digest_length]);
    info.extend(digest);
    let filling = length.checked_sub(info.len() + 3).filter(|filling| *filling >= 8)?;
    Some([&[0, 1][..], &vec![0xff; filling], &[0], &info].concat())
}

/// Whether what a signature says is of a digest (EMSA-PSS-VERIFY, section 9.1.2); `bits`: one less than the modulus has.
fn is_pss(hash: Hash, digest: &[u8], said: &[u8], bits: usize) -> bool {
    let Some((excess, encoded)) = said.split_at_checked(said.len() - bits.div_ceil(8)) else { return false };
    let Some((masked, [check @ .., 0xbc])) =
        encoded.len().checked_sub(digest.len() + 1).map(|length| encoded.split_at(length))
    else {
        return false;
    };
    // The first bits of the first byte stay zero.
    let used = 0xff_u8 >> (encoded.len() * 8 - bits);
    if excess.iter().any(|byte| *byte != 0) || masked.first().is_none_or(|first| first & !used != 0) {
        return false;
    }
    let mask = mgf1(hash, check, masked.len());
    let mut block: Vec<u8> = masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    block[0] &= used;
    let Some((filling, salt)) = block.len().checked_sub(digest.len()).map(|length| block.split_at(length)) else {
        return false;
    };
    let Some((1, filling)) = filling.split_last() else { return false };
    let again = digest::digest(hash.algorithm, &[&[0; 8], digest, salt].concat());
    filling.iter().all(|byte| *byte == 0) && again.as_ref() == check
}

/// The mask of a seed (MGF1, appendix B.2.1).
fn mgf1(hash: Hash, seed: &[u8], length: usize) -> Vec<u8> {
    let blocks = (0..length.div_ceil(hash.algorithm.output_len()) as u32)
        .flat_map(|count| digest::digest(hash.algorithm, &[seed, &count.to_be_bytes()].concat()).as_ref().to_vec());
    blocks.take(length).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaKeyPair, RsaPssSaltLength, RsaSignatureEncoding,
    };

    use super::*;

    const SHA256: Hash = Hash { algorithm: &digest::SHA256, oid: 1 };
    const SHA384: Hash = Hash { algorithm: &digest::SHA384, oid: 2 };
    const SHA512: Hash = Hash { algorithm: &digest::SHA512, oid: 3 };

    /// Signs with the key of another library.
    fn sign(pair: &RsaKeyPair, encoding: &'static RsaSignatureEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// Whatever the length of the key.
    fn holds(padding: Padding, hash: Hash, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let key = Key::of_der(key).unwrap();
        key.open(signature).is_some_and(|said| key.is_signed(padding, hash, message, &said))
    }

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
        (0..hexadecimal.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn what_another_library_signs_holds_and_nothing_else_does() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = pair.public_key().as_ref();
        let schemes: [(Padding, Hash, &'static RsaSignatureEncoding); 6] = [
            (Padding::Pkcs1, SHA256, &RSA_PKCS1_SHA256),
            (Padding::Pkcs1, SHA384, &RSA_PKCS1_SHA384),
            (Padding::Pkcs1, SHA512, &RSA_PKCS1_SHA512),
            (Padding::Pss, SHA256, &RSA_PSS_SHA256),
            (Padding::Pss, SHA384, &RSA_PSS_SHA384),
            (Padding::Pss, SHA512, &RSA_PSS_SHA512),
        ];
        for (signed, (_, _, encoding)) in schemes.iter().enumerate() {
            let signature = sign(&pair, encoding, b"message");
            for (verified, (padding, hash, _)) in schemes.iter().enumerate() {
                let same = signed == verified;
                assert_eq!(holds(*padding, *hash, key, b"message", &signature), same, "{signed} as {verified}");
            }
            let (padding, hash, _) = schemes[signed];
            assert!(!holds(padding, hash, key, b"massage", &signature));
            for byte in (0..signature.len()).step_by(51) {
                let mut other = signature.clone();
                other[byte] ^= 1;
                assert!(!holds(padding, hash, key, b"message", &other), "{padding:?} {byte}");
            }
            for other in [&signature[1..], &[&[0], &*signature].concat(), &[&*signature, &[0]].concat(), &[]] {
                assert!(!holds(padding, hash, key, b"message", other));
            }
            // A key of this length is another's to judge.
            assert!(!is_signed(padding, hash, key, b"message", &signature));
        }
    }

    #[test]
    fn a_salt_of_another_length_is_none() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = pair.public_key().as_ref();
        let max: &RsaSignatureEncoding = &const { RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max) };
        let short: &RsaSignatureEncoding = &const { RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(31)) };
        let none: &RsaSignatureEncoding = &const { RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(0)) };
        for encoding in [max, short, none] {
            assert!(!holds(Padding::Pss, SHA256, key, b"message", &sign(&pair, encoding, b"message")));
        }
    }

    #[test]
    fn the_signature_s_number_plus_the_modulus_is_no_signature() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = Key::of_der(pair.public_key().as_ref()).unwrap();
        // Until one is small enough to have a twin of the same length.
        let twin = (0_u32..).find_map(|count| {
            let signature = sign(&pair, &RSA_PKCS1_SHA256, &count.to_be_bytes());
            let twin = (BigUint::from_bytes_be(&signature) + &key.modulus).to_bytes_be();
            (twin.len() == signature.len()).then_some(twin)
        });
        assert_eq!(key.open(&twin.unwrap()), None);
    }

    #[test]
    fn keys_of_1024_to_2047_bits_hold() {
        let lines = include_str!("../../../tests/fixtures/tls/rsa.txt").lines().filter(|line| !line.starts_with('#'));
        let rows = lines.map(|line| <[&str; 3]>::try_from(line.split(' ').collect::<Vec<_>>()).unwrap());
        let (keys, signatures): (Vec<_>, Vec<_>) = rows.partition(|[_, what, _]| *what == "key");
        assert_eq!((keys.len(), signatures.len()), (3, 16));
        for [bits, what, signature] in signatures {
            let key = bytes(keys.iter().find(|[of, ..]| *of == bits).unwrap()[2]);
            let (padding, hash) = what.split_once('_').unwrap();
            let padding = if padding == "pss" { Padding::Pss } else { Padding::Pkcs1 };
            let hash = match hash {
                "sha256" => SHA256,
                "sha384" => SHA384,
                _ => SHA512,
            };
            let signature = bytes(signature);
            assert!(is_signed(padding, hash, &key, b"message", &signature), "{bits} {what}");
            assert!(!is_signed(padding, hash, &key, b"massage", &signature), "{bits} {what}");
        }
    }

    #[test]
    fn what_is_no_key_has_signed_nothing() {
        let signed = |key: &[u8]| is_signed(Padding::Pss, SHA256, key, b"message", &[0; 128]);
        let modulus = [&[0x02, 0x81, 0x81, 0x00, 0xff][..], &[0xff; 127]].concat();
        let key = |modulus: &[u8], exponent: &[u8]| {
            let numbers = [modulus, exponent].concat();
            [&[0x30, 0x81, numbers.len() as u8], &*numbers].concat()
        };
        let sound = key(&modulus, &[2, 3, 1, 0, 1]);
        assert_eq!(Key::of_der(&sound).map(|key| key.bits()), Some(1024));
        let mut even = modulus.clone();
        *even.last_mut().unwrap() = 0;
        for key in [
            sound[1..].to_vec(),
            [&*sound, &[0]].concat(),
            key(&even, &[2, 3, 1, 0, 1]),
            key(&modulus, &[2, 1, 1]),
            key(&modulus, &[2, 1, 4]),
            key(&modulus, &[2, 1, 0x83]),
            key(&modulus, &[2, 5, 1, 0, 0, 0, 1]),
            key(&[2, 1, 0xff], &[2, 3, 1, 0, 1]),
            key(&[2, 1, 0], &[2, 3, 1, 0, 1]),
            Vec::new(),
        ] {
            assert!(Key::of_der(&key).is_none() && !signed(&key), "{key:02x?}");
        }
        assert!(!signed(&sound));
    }
}
