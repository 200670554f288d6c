//! Key exchange over P-521, which aws-lc-rs has and rustls does not offer.

use aws_lc_rs::agreement::{ECDH_P521, EphemeralPrivateKey, PublicKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// Ephemeral ECDH over secp521r1 (RFC 8446, section 7.4.2; RFC 8422, section 5.11).
pub(super) static SECP521R1: &dyn SupportedKxGroup = &P521;

#[derive(Debug)]
struct P521;

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let private = EphemeralPrivateKey::generate(&ECDH_P521, &SystemRandom::new()).map_err(|_| GetRandomFailed)?;
        let public = private.compute_public_key().map_err(|_| GetRandomFailed)?;
        Ok(Box::new(Exchange { private, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

/// One exchange.
struct Exchange {
    private: EphemeralPrivateKey,
    public: PublicKey,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let wrong = || Error::from(PeerMisbehaved::InvalidKeyShare);
        // aws-lc-rs sees to it that the point is on the curve, but takes other forms of it, too, and TLS only this one.
        if peer.first() != Some(&4) {
            return Err(wrong());
        }
        let peer = UnparsedPublicKey::new(&ECDH_P521, peer);
        agree_ephemeral(self.private, peer, wrong(), |secret| Ok(SharedSecret::from(secret)))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_what_is_no_point_is_refused() {
        let [ours, theirs] = [(); 2].map(|()| SECP521R1.start().unwrap());
        let (our_public, their_public) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
        assert_eq!((our_public.len(), our_public[0]), (133, 4));
        let [here, there] =
            [(ours, &their_public), (theirs, &our_public)].map(|(side, peer)| side.complete(peer).unwrap());
        assert_eq!((here.secret_bytes(), here.secret_bytes().len()), (there.secret_bytes(), 66));

        let mut beside = their_public.clone();
        beside[132] ^= 1;
        let compressed = [&[2 + (their_public[132] & 1)], &their_public[1..67]].concat();
        for peer in [beside, compressed, their_public[..132].to_vec(), vec![4], Vec::new()] {
            assert!(SECP521R1.start().unwrap().complete(&peer).is_err(), "{peer:02x?}");
        }
    }
}
