//! What does the JWT library sign and verify with?
//!
//! With Ed25519 of ring, which is here for TLS already, and with nothing else. The library
//! leaves cryptography to whoever uses it; the two sets that it offers bring RSA, other curves
//! and shared secrets along, none of which may ever make a token of ours.

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature,
};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Takes seeds of 32 bytes as signing keys, and public keys of 32 bytes as verifying keys.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(Signer(pair(key.as_bytes())?))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(Verifier(key.try_get_as_bytes()?.to_vec()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    // These serve keys that come from outside; ours never do.
    key_utils: KeyUtils::new_unimplemented(),
};

/// A key that signs, and the one that verifies what it signed.
pub struct Keys {
    pub signing: EncodingKey,
    pub verifying: DecodingKey,
    pub public: [u8; 32],
}

impl Keys {
    /// The keys that grow from a seed.
    #[expect(clippy::expect_used, reason = "any 32 bytes are a seed, with a public key of 32")]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // There is one for each process, and it refuses to be set again.
        _ = PROVIDER.install_default();
        let pair = pair(seed).expect("a seed of 32 bytes");
        let public = pair.public_key().as_ref().try_into().expect("a public key of 32 bytes");
        Self {
            signing: EncodingKey::from_ed_der(seed),
            verifying: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            public,
        }
    }
}

fn pair(seed: &[u8]) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| ErrorKind::InvalidEddsaKey.into())
}

struct Signer(Ed25519KeyPair);

impl signature::Signer<Vec<u8>> for Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Verifier(Vec<u8>);

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        let public = UnparsedPublicKey::new(&ED25519, &self.0);
        public.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
