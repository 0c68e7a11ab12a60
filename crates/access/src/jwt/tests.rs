//! Published examples, and tokens that somebody would like us to believe.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::json;

use super::*;

pub(crate) const NOW_SECONDS: i64 = 1_732_000_000;
const ISSUER: &str = "https://login.example";
const CLIENT: &str = "tinyobs";

/// A key pair of a provider.
pub(crate) enum Signer {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn es256() -> Self {
        let random = SystemRandom::new();
        let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(way, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(way, document.as_ref(), &random).expect("a key");
        Self::Es256(pair)
    }

    pub(crate) fn ed_dsa() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::EdDsa(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key"))
    }

    const fn alg(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// Returns the public key as a provider publishes it.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": x, "y": y})
            }
            Self::EdDsa(pair) => {
                let x = encode(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    fn sign_text(&self, message: &str) -> String {
        let signature = match self {
            Self::Es256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message.as_bytes());
                encode(signature.expect("a signature").as_ref())
            }
            Self::EdDsa(pair) => encode(pair.sign(message.as_bytes()).as_ref()),
        };
        format!("{message}.{signature}")
    }

    fn sign_parts(&self, header: &str, payload: &str) -> String {
        self.sign_text(&format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes())))
    }

    pub(crate) fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.alg(), "typ": "JWT", "kid": kid});
        self.sign_parts(&header.to_string(), &claims.to_string())
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn parse_set(keys: &[Value]) -> KeySet {
    KeySet::parse(set(keys).as_bytes()).expect("a key set")
}

fn good_claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "u-1", "aud": CLIENT, "exp": NOW_SECONDS + 300, "iat": NOW_SECONDS,
    })
}

/// Verifies at the usual time and says how it ends.
fn check(token: &str, keys: &KeySet, expected: &str) {
    let rules = Expected { issuer: ISSUER, audience: CLIENT, algorithms: &SignatureAlgorithm::ALL };
    let found = match verify(token, keys, &rules, Timestamp::from_millis(NOW_SECONDS * 1_000)) {
        Ok(token) => format!("subject {}", token.subject),
        Err(error) => error.to_string(),
    };
    let shown = token.get(..80).unwrap_or(token);
    assert!(found.contains(expected), "{shown}: {found}, expected {expected}");
}

#[test]
fn published_examples_verify_and_their_neighbours_do_not() {
    let examples: Value =
        serde_json::from_str(include_str!("../../testdata/jws.json")).expect("valid JSON");
    let examples = examples.as_array().expect("a list");
    assert_eq!(examples.len(), 8);
    for example in examples {
        let source = &example["source"];
        let keys = parse_set(&[example["key"].clone()]);
        assert_eq!(keys.len(), 1, "{source}");
        let token = example["token"].as_str().expect("a text");
        let all = &SignatureAlgorithm::ALL;
        let (algorithm, payload) = verify_signature(token, &keys, all).expect("a good signature");
        assert_eq!(Some(String::from_utf8_lossy(&payload).as_ref()), example["payload"].as_str());

        let others: Vec<_> = all.iter().copied().filter(|other| *other != algorithm).collect();
        assert_eq!(verify_signature(token, &keys, &others), Err(TokenError::Algorithm), "{source}");
        let (rest, signature) = token.rsplit_once('.').expect("a signature");
        let mut bytes = decode(signature).expect("base64url");
        for index in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[index] ^= 1;
            let changed = format!("{rest}.{}", encode(&bytes));
            let found = verify_signature(&changed, &keys, all);
            assert_eq!(found, Err(TokenError::Signature), "{source}, byte {index}");
            bytes[index] ^= 1;
        }
        let cut = format!("{rest}.{}", encode(&bytes[1..]));
        assert_eq!(verify_signature(&cut, &keys, all), Err(TokenError::Signature), "{source}");
        let empty = format!("{rest}.");
        assert_eq!(verify_signature(&empty, &keys, all), Err(TokenError::Signature), "{source}");
    }
}

#[test]
fn only_a_token_in_the_one_allowed_form_is_read() {
    let signer = Signer::es256();
    let keys = parse_set(&[signer.jwk("a")]);
    let claims = good_claims();
    let payload = claims.to_string();
    let good = signer.sign("a", &claims);
    check(&good, &keys, "subject u-1");

    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for (token, expected) in [
        (String::new(), "three parts"),
        (format!("{header}.{body}"), "three parts"),
        (format!("{good}.{signature}"), "three parts"),
        (format!("{good}."), "three parts"),
        (format!("{header}.{body}."), "signature is wrong"),
        (format!(".{body}.{signature}"), "header: it is no valid JSON"),
        (format!("{header}..{signature}"), "signature is wrong"),
        (format!("{header}=.{body}.{signature}"), "header: it is no unpadded base64url"),
        (format!("{header}.{body}=.{signature}"), "payload: it is no unpadded base64url"),
        (format!("{header}.{body}.{signature}=="), "signature: it is no unpadded base64url"),
        (format!("{header}.{body}.{signature}\n"), "signature: it is no unpadded base64url"),
        (format!("{header}.{body}.+{}", &signature[1..]), "signature: it is no unpadded base64url"),
        (
            format!("{header}.{body}.{}B", &signature[..85]),
            "signature: it is no unpadded base64url",
        ),
        (format!(" {good}"), "header: it is no unpadded base64url"),
        ("ü.ü.ü".to_owned(), "header: it is no unpadded base64url"),
        ("a".repeat(TOKEN_BYTES_MAX + 1), "larger than 65536 bytes"),
        (format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)), "larger than 65536 bytes"),
    ] {
        check(&token, &keys, expected);
    }
    for (header, payload, expected) in [
        (r#"{"alg":"ES256","kid":"a","crit":["exp"],"exp":1}"#, &*payload, "'crit' is not"),
        (r#"{"alg":"ES256","kid":"a","crit":[],"b64":false}"#, &payload, "'crit' is not"),
        (r#"{"alg":"ES256","alg":"ES256","kid":"a"}"#, &payload, "a member appears twice"),
        (r#"{"alg":"ES256","kid":7}"#, &payload, "'kid' is no text"),
        (r#"["ES256"]"#, &payload, "header: it is no JSON object"),
        (r#"{"alg":"ES256","kid":"a"}"#, "[]", "payload: it is no JSON object"),
        (r#"{"alg":"ES256","kid":"a"}"#, r#"{"sub":"a","sub":"b"}"#, "a member appears twice"),
        (r#"{"alg":"ES256","kid":"a"}"#, r#"{"exp":1e999}"#, "payload: it is no valid JSON"),
        (r#"{"alg":"ES256","kid":"a"}"#, "", "payload: it is no valid JSON"),
    ] {
        check(&signer.sign_parts(header, payload), &keys, expected);
    }
}

#[test]
fn nobody_but_the_provider_chooses_algorithm_and_key() {
    let (signer, stranger, edwards) = (Signer::es256(), Signer::es256(), Signer::ed_dsa());
    let keys = parse_set(&[signer.jwk("a"), edwards.jwk("b")]);
    let payload = good_claims().to_string();
    check(&edwards.sign("b", &good_claims()), &keys, "subject u-1");

    let hmac = |secret: &[u8]| {
        let message = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(payload.as_bytes()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let tag = ring::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", encode(tag.as_ref()))
    };
    let public_key = match &signer {
        Signer::Es256(pair) => pair.public_key().as_ref().to_vec(),
        Signer::EdDsa(_) => panic!("not this one"),
    };
    check(&hmac(&public_key), &keys, "algorithm is not allowed");
    check(&hmac(b""), &keys, "algorithm is not allowed");

    let embedded = json!({"alg": "ES256", "jwk": stranger.jwk("a"), "jku": "https://evil.example"});
    for (who, header, expected) in [
        (&signer, r#"{"alg":"none"}"#, "algorithm is not allowed"),
        (&signer, r#"{"alg":"None","kid":"a"}"#, "algorithm is not allowed"),
        (&signer, r#"{"alg":"es256","kid":"a"}"#, "algorithm is not allowed"),
        (&signer, r#"{"alg":["ES256"],"kid":"a"}"#, "algorithm is not allowed"),
        (&signer, r#"{"kid":"a"}"#, "algorithm is not allowed"),
        (&signer, r#"{"alg":"ES512","kid":"a"}"#, "algorithm is not allowed"),
        (&signer, r#"{"alg":"EdDSA","kid":"a"}"#, "not in the provider's key set"),
        (&signer, r#"{"alg":"ES384","kid":"a"}"#, "not in the provider's key set"),
        (&signer, r#"{"alg":"RS256","kid":"a"}"#, "not in the provider's key set"),
        (&signer, r#"{"alg":"ES256","kid":"b"}"#, "not in the provider's key set"),
        (&signer, r#"{"alg":"ES256","kid":"A"}"#, "not in the provider's key set"),
        (&signer, r#"{"alg":"ES256","kid":""}"#, "not in the provider's key set"),
        (&signer, r#"{"alg":"ES256"}"#, "subject u-1"),
        (&stranger, r#"{"alg":"ES256","kid":"a"}"#, "signature is wrong"),
        (&stranger, &embedded.to_string(), "signature is wrong"),
    ] {
        check(&who.sign_parts(header, &payload), &keys, expected);
    }
    let twice = parse_set(&[signer.jwk("a"), stranger.jwk("a"), stranger.jwk("c")]);
    check(&signer.sign("a", &good_claims()), &twice, "does not say which");
    check(&signer.sign_parts(r#"{"alg":"ES256"}"#, &payload), &twice, "does not say which");
    check(&signer.sign("a", &good_claims()), &KeySet::default(), "not in the provider's key set");
}

#[test]
fn claims_must_be_for_us_and_for_now() {
    let signer = Signer::ed_dsa();
    let keys = parse_set(&[signer.jwk("a")]);
    let now = NOW_SECONDS;
    for (claim, value, expected) in [
        ("iss", json!("https://login.example/"), "'iss' is not the configured issuer"),
        ("iss", json!("https://LOGIN.example"), "'iss' is not the configured issuer"),
        ("iss", json!(["https://login.example"]), "'iss' is not the configured issuer"),
        ("iss", Value::Null, "'iss' is not the configured issuer"),
        ("aud", json!("other"), "'aud' does not contain the client"),
        ("aud", json!("tinyobs "), "'aud' does not contain the client"),
        ("aud", json!([]), "'aud' does not contain the client"),
        ("aud", json!(["other"]), "'aud' does not contain the client"),
        ("aud", json!({"tinyobs": true}), "'aud' does not contain the client"),
        ("aud", Value::Null, "'aud' does not contain the client"),
        ("aud", json!(["tinyobs"]), "subject u-1"),
        ("aud", json!(["tinyobs", "other"]), "'azp' is missing"),
        ("azp", json!("other"), "'azp' is not the client"),
        ("azp", json!(["tinyobs"]), "'azp' is not the client"),
        ("azp", json!("tinyobs"), "subject u-1"),
        ("exp", json!(now - 60), "'exp' has passed"),
        ("exp", json!(now - 59), "subject u-1"),
        ("exp", json!(now as f64 - 59.5), "subject u-1"),
        ("exp", Value::Null, "'exp' is no time"),
        ("exp", json!("1732000300"), "'exp' is no time"),
        ("exp", json!(-1), "'exp' is no time"),
        ("exp", json!(u64::MAX), "'exp' is no time"),
        ("exp", json!(1e300), "'exp' is no time"),
        ("exp", json!(253_402_300_799_i64), "subject u-1"),
        ("nbf", json!(now + 60), "subject u-1"),
        ("nbf", json!(now + 61), "'nbf' lies in the future"),
        ("nbf", json!("soon"), "'nbf' is no time"),
        ("iat", json!(now + 61), "'iat' lies in the future"),
        ("iat", json!(0), "subject u-1"),
        ("sub", json!(""), "'sub' is no text of 1 to 255 characters"),
        ("sub", json!("s".repeat(256)), "'sub' is no text of 1 to 255 characters"),
        ("sub", json!(7), "'sub' is no text of 1 to 255 characters"),
    ] {
        let mut claims = good_claims();
        claims[claim] = value;
        check(&signer.sign("a", &claims), &keys, expected);
    }
    for (claim, expected) in [
        ("iss", "'iss' is not the configured issuer"),
        ("sub", "'sub' is no text"),
        ("aud", "'aud' does not contain the client"),
        ("exp", "'exp' is missing"),
        ("iat", "'iat' is missing"),
    ] {
        let mut claims = good_claims();
        claims.as_object_mut().expect("an object").remove(claim);
        check(&signer.sign("a", &claims), &keys, expected);
    }
}

#[test]
fn a_key_set_keeps_what_can_sign_and_is_bounded() {
    let good = Signer::es256().jwk("a");
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let rsa = |n: &str| json!({"kty": "RSA", "n": n, "e": "AQAB"});
    for (what, key, usable) in [
        ("as published", good.clone(), 1),
        ("for signatures", with("use", json!("sig")), 1),
        ("for encryption", with("use", json!("enc")), 0),
        ("to verify", with("key_ops", json!(["verify"])), 1),
        ("to encrypt", with("key_ops", json!(["encrypt"])), 0),
        ("operations that are no list", with("key_ops", json!("verify")), 0),
        ("its algorithm", with("alg", json!("ES256")), 1),
        ("an unknown algorithm", with("alg", json!("ES512")), 0),
        ("a shared secret", json!({"kty": "oct", "k": "AAAA"}), 0),
        ("an unknown curve", with("crv", json!("P-521")), 0),
        ("a curve of the wrong length", with("crv", json!("P-384")), 0),
        ("a short coordinate", with("x", json!("AAAA")), 0),
        ("a padded coordinate", with("x", json!("AAAA=")), 0),
        ("an identifier that is no text", with("kid", json!(1)), 0),
        ("leading zeros", rsa("AAAB"), 1),
        ("no number", rsa("AAAA"), 0),
        ("no object", json!("key"), 0),
    ] {
        assert_eq!(parse_set(&[key]).len(), usable, "{what}");
    }
    assert_eq!(parse_set(&vec![good.clone(); 64]).len(), 64);
    let parse = |text: String| KeySet::parse(text.as_bytes()).map(|set| set.len());
    assert_eq!(parse(set(&vec![good; 65])), Err(KeySetError::TooLarge));
    assert_eq!(
        parse(format!("{}{}", set(&[]), " ".repeat(256 * 1024))),
        Err(KeySetError::TooLarge)
    );
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        let error = parse(text.to_owned()).expect_err(text);
        assert!(matches!(error, KeySetError::Malformed { .. }), "{text}: {error}");
    }
}

#[test]
fn a_key_that_is_bound_to_one_algorithm_serves_no_other() {
    let examples: Value =
        serde_json::from_str(include_str!("../../testdata/jws.json")).expect("valid JSON");
    let example = &examples[0];
    let token = example["token"].as_str().expect("a text");
    let verify_with = |alg: &str| {
        let mut key = example["key"].clone();
        key["alg"] = json!(alg);
        verify_signature(token, &parse_set(&[key]), &SignatureAlgorithm::ALL).map(|found| found.0)
    };
    assert_eq!(verify_with("RS256"), Ok(SignatureAlgorithm::Rs256));
    assert_eq!(verify_with("PS256"), Err(TokenError::UnknownKey));
}

proptest::proptest! {
    #[test]
    fn whatever_is_sent_is_an_error_and_no_panic(token in ".{0,200}", json in ".{0,200}") {
        let signer = Signer::ed_dsa();
        let keys = parse_set(&[signer.jwk("a")]);
        let all = &SignatureAlgorithm::ALL;
        proptest::prop_assert!(verify_signature(&token, &keys, all).is_err());
        let signed = signer.sign_parts(r#"{"alg":"EdDSA"}"#, &json);
        let rules = Expected { issuer: ISSUER, audience: CLIENT, algorithms: all };
        proptest::prop_assert!(verify(&signed, &keys, &rules, Timestamp::from_millis(0)).is_err());
        drop(KeySet::parse(json.as_bytes()));
    }
}
