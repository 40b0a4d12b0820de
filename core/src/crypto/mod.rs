//! Passwords, password verifiers, keys and certificates, all made from seeds that are handed in:
//! the same seed gives the same bytes. Where the entropy comes from is not decided here.

mod expand;
pub mod password;
mod pem;
pub mod pki;
pub mod scram;
mod x509;
