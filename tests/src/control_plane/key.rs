//! A key for service account tokens, in the shortest form that Go reads.

use std::{fs::File, io::Read};

use anyhow::{Context, Result};

/// A fresh elliptic curve key (P-256) as PEM. The public part is left out of the structure, as its
/// standard (SEC 1) allows: readers compute it, and so need we not.
pub(super) fn fresh() -> Result<String> {
    let mut secret = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut secret))
        .context("/dev/urandom")?;
    // Far below the order of the curve, hence valid, and never zero.
    secret[0] = 1;
    Ok(pem(&secret))
}

fn pem(secret: &[u8; 32]) -> String {
    // SEQUENCE { INTEGER 1, OCTET STRING secret, [0] { OBJECT IDENTIFIER prime256v1 } }
    let mut bytes = vec![0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    bytes.extend(secret);
    bytes.extend([
        0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ]);
    format!(
        "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n",
        base64(&bytes)
    )
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let joined = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for place in 0..4 {
            if place > chunk.len() {
                text.push('=');
            } else {
                let index = joined >> (18 - 6 * place) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        for (bytes, text) in [("", ""), ("M", "TQ=="), ("Ma", "TWE="), ("Man", "TWFu")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_structure_is_as_long_as_it_says() {
        let text = pem(&[1; 32]);
        let body = text.lines().nth(1).unwrap();
        // 51 bytes: two of the header and the 49 that it announces.
        assert_eq!(body.len(), 68);
        assert!(!body.ends_with('='));
    }
}
