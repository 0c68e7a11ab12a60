//! What is sent: five kinds of events of an imagined shop, the same for the same sender.

use std::fmt;
use std::io::Write as _;
use std::str::FromStr;

use crate::workload::{push_bytes, push_varint};

/// Devices of each sender.
const DEVICES: u64 = 500;

/// How events are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Binary,
}

impl Form {
    pub(crate) const fn header(self) -> &'static str {
        match self {
            Self::Json => "Content-Type: application/json\r\n",
            Self::Binary => "Content-Type: application/x-protobuf\r\n",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Binary => "binary",
        })
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "binary" => Ok(Self::Binary),
            _ => Err(format!("'{text}' is neither json nor binary")),
        }
    }
}

/// Makes one event after the other.
#[derive(Debug)]
pub(crate) struct Shapes {
    sender: u64,
    next: u64,
    time_ms: u64,
    event: Vec<u8>,
}

impl Shapes {
    pub(crate) fn new(sender: u64, time_ms: u64) -> Self {
        Self { sender, next: 0, time_ms, event: Vec::new() }
    }

    /// Appends the body of a request with one event.
    pub(crate) fn single(&mut self, form: Form, body: &mut Vec<u8>) {
        self.make(form);
        match form {
            Form::Json => {
                body.extend_from_slice(br#"{"event":"#);
                body.extend_from_slice(&self.event);
                body.push(b'}');
            }
            Form::Binary => push_bytes(body, 1, &self.event),
        }
    }

    /// Appends the body of a request with several events.
    pub(crate) fn batch(&mut self, form: Form, events: u64, body: &mut Vec<u8>) {
        match form {
            Form::Json => {
                body.extend_from_slice(br#"{"events":["#);
                for index in 0..events {
                    self.make(form);
                    if index > 0 {
                        body.push(b',');
                    }
                    body.extend_from_slice(&self.event);
                }
                body.extend_from_slice(b"]}");
            }
            Form::Binary => {
                for _ in 0..events {
                    self.make(form);
                    push_bytes(body, 1, &self.event);
                }
            }
        }
    }

    fn make(&mut self, form: Form) {
        let number = self.next;
        self.next += 1;
        let fields = Fields {
            number,
            device: format!("device-{:03}-{:05}", self.sender, number % DEVICES),
            time_ms: self.time_ms + number,
            // Unlike each other, as random keys are.
            key: format!("{:016x}{:016x}", mix(self.sender << 40 | number), mix(!number)),
        };
        self.event.clear();
        match form {
            Form::Json => fields.write_json(&mut self.event),
            Form::Binary => fields.write_binary(&mut self.event),
        }
    }
}

struct Fields {
    number: u64,
    device: String,
    time_ms: u64,
    key: String,
}

impl Fields {
    fn write_json(&self, out: &mut Vec<u8>) {
        let Self { number, device, time_ms, key } = self;
        let _infallible = write!(
            out,
            r#"{{"appId":"shop","deviceId":"{device}","timestampMs":{time_ms},"idempotencyKey":"{key}","deviceContext":{{"platform":"PLATFORM_IOS","osVersion":"18.4","appVersion":"3.12.{}","locale":"en_GB","networkType":"NETWORK_TYPE_WIFI"}},"#,
            number % 10
        );
        let _infallible = match number % 5 {
            0 => write!(
                out,
                r#""screenView":{{"screenName":"Product details","screenClass":"ProductViewController","previousScreen":"Search results"}}}}"#
            ),
            1 => write!(
                out,
                r#""buttonTap":{{"buttonId":"add-to-cart","buttonText":"Add to cart","screenName":"Product details","coordinates":{{"x":112.5,"y":640}}}}}}"#
            ),
            2 => write!(
                out,
                r#""productView":{{"productId":"sku-{}","productName":"Espresso cups, set of 4","category":"kitchen","priceCents":2490,"currency":"EUR","source":"search"}}}}"#,
                number % 9_000
            ),
            3 => write!(
                out,
                r#""addToCart":{{"productId":"sku-{}","productName":"Espresso cups, set of 4","quantity":2,"priceCents":2490,"currency":"EUR","cartId":"cart-{}"}}}}"#,
                number % 9_000,
                number % 5_000
            ),
            _ => write!(
                out,
                r#""customEvent":{{"eventName":"experiment_shown","stringParams":{{"experiment":"checkout-7","variant":"b"}},"intParams":{{"position":{}}},"boolParams":{{"first":true}}}}}}"#,
                number % 12
            ),
        };
    }

    fn write_binary(&self, out: &mut Vec<u8>) {
        let Self { number, device, time_ms, key } = self;
        push_bytes(out, 2, b"shop");
        push_bytes(out, 3, device.as_bytes());
        push_number(out, 4, *time_ms);
        push_message(out, 6, |context| {
            push_number(context, 1, 1);
            push_bytes(context, 2, b"18.4");
            push_bytes(context, 3, format!("3.12.{}", number % 10).as_bytes());
            push_bytes(context, 9, b"en_GB");
            push_number(context, 11, 1);
        });
        push_bytes(out, 7, key.as_bytes());
        match number % 5 {
            0 => push_message(out, 100, |payload| {
                push_bytes(payload, 1, b"Product details");
                push_bytes(payload, 2, b"ProductViewController");
                push_bytes(payload, 3, b"Search results");
            }),
            1 => push_message(out, 200, |payload| {
                push_bytes(payload, 1, b"add-to-cart");
                push_bytes(payload, 2, b"Add to cart");
                push_bytes(payload, 3, b"Product details");
                push_message(payload, 4, |point| {
                    push_float(point, 1, 112.5);
                    push_float(point, 2, 640.0);
                });
            }),
            2 => push_message(out, 300, |payload| {
                push_bytes(payload, 1, format!("sku-{}", number % 9_000).as_bytes());
                push_bytes(payload, 2, b"Espresso cups, set of 4");
                push_bytes(payload, 3, b"kitchen");
                push_number(payload, 4, 2490);
                push_bytes(payload, 5, b"EUR");
                push_bytes(payload, 6, b"search");
            }),
            3 => push_message(out, 301, |payload| {
                push_bytes(payload, 1, format!("sku-{}", number % 9_000).as_bytes());
                push_bytes(payload, 2, b"Espresso cups, set of 4");
                push_number(payload, 3, 2);
                push_number(payload, 4, 2490);
                push_bytes(payload, 5, b"EUR");
                push_bytes(payload, 6, format!("cart-{}", number % 5_000).as_bytes());
            }),
            _ => push_message(out, 900, |payload| {
                push_bytes(payload, 1, b"experiment_shown");
                for (name, value) in [("experiment", "checkout-7"), ("variant", "b")] {
                    push_message(payload, 2, |entry| {
                        push_bytes(entry, 1, name.as_bytes());
                        push_bytes(entry, 2, value.as_bytes());
                    });
                }
                push_message(payload, 3, |entry| {
                    push_bytes(entry, 1, b"position");
                    push_number(entry, 2, number % 12);
                });
                push_message(payload, 5, |entry| {
                    push_bytes(entry, 1, b"first");
                    push_number(entry, 2, 1);
                });
            }),
        }
    }
}

fn push_number(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3);
    push_varint(out, number);
}

fn push_float(out: &mut Vec<u8>, field: u8, number: f32) {
    out.push(field << 3 | 5);
    out.extend_from_slice(&number.to_le_bytes());
}

fn push_message(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    write(&mut message);
    push_varint(out, field << 3 | 2);
    push_varint(out, message.len() as u64);
    out.extend_from_slice(&message);
}

/// Spreads a number over all bits (the finaliser of MurmurHash3).
fn mix(mut number: u64) -> u64 {
    number ^= number >> 33;
    number = number.wrapping_mul(0xff51_afd7_ed55_8ccd);
    number ^= number >> 33;
    number = number.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ number >> 33
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn json_is_well_formed_and_about_as_long_as_said() {
        let mut body = Vec::new();
        Shapes::new(1, 1_738_915_200_000).batch(Form::Json, 100, &mut body);
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(value["events"].as_array().map(Vec::len), Some(100));
        let mean = body.len() / 100;
        assert!((300..450).contains(&mean), "{mean} bytes an event");
    }

    #[test]
    fn no_two_events_have_the_same_key() {
        let mut keys: Vec<String> = (0..4)
            .flat_map(|sender| {
                let mut shapes = Shapes::new(sender, 1);
                (0..50).map(move |_| {
                    shapes.make(Form::Json);
                    let event: Value = serde_json::from_slice(&shapes.event).expect("JSON");
                    event["idempotencyKey"].as_str().expect("a key").to_owned()
                })
            })
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 200);
    }
}
