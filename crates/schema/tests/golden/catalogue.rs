//! The events as their senders know them, written out by hand.

/// Number and name of the payload, category and type, then its fields: number, name, type; `*` marks what is required.
const PAYLOADS: &str = "
10 user_login user login: 1 user_id string, 2 method string, 3 is_new_user bool
11 user_logout user logout: 1 user_id string, 2 reason string
12 user_signup user signup: 1 user_id string, 2 method string, 3 referral_source string
13 user_profile_update user profile_update: 1 user_id string, 2 fields_updated list
100 screen_view screen view: 1 screen_name string*, 2 screen_class string, 3 previous_screen string, 4 params map_string
101 screen_exit screen exit: 1 screen_name string*, 2 duration_ms int64, 3 next_screen string
200 button_tap interaction button_tap: 1 button_id string*, 2 button_text string, 3 screen_name string, 4 coordinates Coordinates
201 swipe_gesture interaction swipe: 1 direction SWIPE_DIRECTION_DOWN=4, 2 screen_name string, 3 start Coordinates, 4 end Coordinates, 5 duration_ms int64
202 scroll_event interaction scroll: 1 screen_name string, 2 container_id string, 3 scroll_depth_percent int32, 4 direction SCROLL_DIRECTION_UP=1
203 text_input interaction text_input: 1 field_id string*, 2 field_type string, 3 screen_name string, 4 text_length int32, 5 input_duration_ms int64
204 long_press interaction long_press: 1 element_id string, 2 screen_name string, 3 coordinates Coordinates, 4 duration_ms int64
205 double_tap interaction double_tap: 1 element_id string, 2 screen_name string, 3 coordinates Coordinates
300 product_view commerce product_view: 1 product_id string*, 2 product_name string, 3 category string, 4 price_cents int64, 5 currency string, 6 source string
301 add_to_cart commerce add_to_cart: 1 product_id string*, 2 product_name string, 3 quantity int32, 4 price_cents int64, 5 currency string, 6 cart_id string
302 remove_from_cart commerce remove_from_cart: 1 product_id string*, 2 quantity int32, 3 cart_id string, 4 reason string
303 checkout_start commerce checkout_start: 1 cart_id string, 2 item_count int32, 3 total_cents int64, 4 currency string
304 checkout_step commerce checkout_step: 1 cart_id string, 2 step_number int32, 3 step_name string, 4 step_duration_ms int64
305 purchase_complete commerce purchase_complete: 1 order_id string*, 2 cart_id string, 3 item_count int32, 4 total_cents int64, 5 currency string, 6 payment_method string, 7 items PurchaseItems
306 purchase_failed commerce purchase_failed: 1 cart_id string, 2 error_code string, 3 error_message string, 4 payment_method string, 5 checkout_step int32
400 app_start system app_start: 1 is_cold_start bool, 2 launch_duration_ms int64, 3 launch_source string, 4 deeplink_url string
401 app_background system app_background: 1 foreground_duration_ms int64, 2 current_screen string
402 app_foreground system app_foreground: 1 background_duration_ms int64, 2 resume_screen string
403 app_crash system app_crash: 1 crash_type string, 2 crash_message string, 3 stack_trace string, 4 current_screen string
404 network_change system network_change: 1 previous_type NETWORK_TYPE_WIFI=1, 2 current_type NETWORK_TYPE_CELLULAR_4G=4
405 permission_request system permission_request: 1 permission_type string, 2 trigger_screen string
406 permission_result system permission_result: 1 permission_type string, 2 status PERMISSION_STATUS_DENIED_PERMANENTLY=3
407 memory_warning system memory_warning: 1 available_memory_bytes int64, 2 used_memory_bytes int64, 3 level MEMORY_WARNING_LEVEL_CRITICAL=2
408 battery_change system battery_change: 1 battery_level int32, 2 state BATTERY_STATE_FULL=3
900 custom_event custom -: 1 event_name string*, 2 string_params map_string, 3 int_params map_int64, 4 float_params map_double, 5 bool_params map_bool
";

const ENVELOPE: &str = "1 id string, 2 app_id app, 3 device_id string, 4 timestamp_ms time, 5 correlation_id string, \
    6 device_context DeviceContext, 7 idempotency_key string";

const DEVICE_CONTEXT: &str = "1 platform PLATFORM_ANDROID=2, 2 os_version string, 3 app_version string, \
    4 build_number string, 5 device_model string, 6 manufacturer string, 7 screen_width int32, 8 screen_height int32, \
    9 locale string, 10 timezone string, 11 network_type NETWORK_TYPE_OFFLINE=7, 12 carrier string, \
    13 is_jailbroken bool, 14 is_emulator bool, 15 sdk_version string";

const COORDINATES: &str = "1 x float, 2 y float";

const PURCHASE_ITEM: &str =
    "1 product_id string, 2 product_name string, 3 quantity int32, 4 price_cents int64";

/// A payload with a value for each field.
pub(crate) struct Payload {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) event_type: String,
    pub(crate) fields: Vec<Sample>,
}

/// A field with a value.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) required: bool,
    /// As a sender may write it in JSON.
    pub(crate) input: String,
    /// As protobuf maps it to JSON.
    pub(crate) output: String,
    /// As the warehouse sees it.
    pub(crate) plain: String,
    /// All of the field in binary.
    pub(crate) binary: Vec<u8>,
}

/// Returns every payload, with every field set.
pub(crate) fn payloads() -> Vec<Payload> {
    let lines = PAYLOADS.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (head, fields) = line.split_once(": ").expect(line);
            let [number, name, category, event_type] =
                head.split(' ').collect::<Vec<_>>().try_into().expect(line);
            Payload {
                number: number.parse().expect(line),
                name: name.to_owned(),
                category: category.to_owned(),
                event_type: event_type.to_owned(),
                fields: samples(fields),
            }
        })
        .collect()
}

/// Returns every field of the envelope but the payload, set.
pub(crate) fn envelope() -> Vec<Sample> {
    samples(ENVELOPE)
}

/// Returns the name in JSON.
pub(crate) fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        camel.push_str(&word[..1].to_uppercase());
        camel.push_str(&word[1..]);
    }
    camel
}

/// Returns a message of fields.
pub(crate) fn encode(fields: &[Sample]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.binary.clone()).collect()
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) * 8 + 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) * 8);
    put_varint(out, value);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 127 {
        out.push((value % 128) as u8 + 128);
        value /= 128;
    }
    out.push(value as u8);
}

fn samples(fields: &str) -> Vec<Sample> {
    fields.split(", ").map(sample).collect()
}

fn sample(field: &str) -> Sample {
    let [number, name, kind] = field.split(' ').collect::<Vec<_>>().try_into().expect(field);
    let number: u32 = number.parse().expect(field);
    let (kind, required) = match kind.strip_suffix('*') {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let mut binary = Vec::new();
    let same = |text: String| (text.clone(), text.clone(), text);
    let (input, output, plain) = match kind {
        "string" => {
            let text = format!("text of {name}");
            put_bytes(&mut binary, number, text.as_bytes());
            same(format!("\"{text}\""))
        }
        "app" => {
            put_bytes(&mut binary, number, b"dev-app");
            same("\"dev-app\"".to_owned())
        }
        "bool" => {
            put_number(&mut binary, number, 1);
            same("true".to_owned())
        }
        "int32" => {
            put_number(&mut binary, number, 42);
            same("42".to_owned())
        }
        // More than a number of double precision can tell from its neighbours.
        "int64" => {
            put_number(&mut binary, number, 9_007_199_254_740_993);
            let text = "9007199254740993".to_owned();
            (text.clone(), format!("\"{text}\""), text)
        }
        "time" => {
            put_number(&mut binary, number, 1_738_915_200_000);
            let text = "1738915200000".to_owned();
            (text.clone(), format!("\"{text}\""), text)
        }
        "float" => {
            let value = if name == "x" { 1.5_f32 } else { -0.1 };
            put_varint(&mut binary, u64::from(number) * 8 + 5);
            binary.extend(value.to_le_bytes());
            same(value.to_string())
        }
        "list" => {
            put_bytes(&mut binary, number, b"name");
            put_bytes(&mut binary, number, b"");
            same(r#"["name",""]"#.to_owned())
        }
        "Coordinates" => nested(&mut binary, number, COORDINATES),
        "DeviceContext" => nested(&mut binary, number, DEVICE_CONTEXT),
        "PurchaseItems" => {
            let (input, output, plain) = nested(&mut binary, number, PURCHASE_ITEM);
            put_bytes(&mut binary, number, b"");
            let list = |item: String| format!("[{item},{{}}]");
            (list(input), list(output), list(plain))
        }
        _ => match kind.split_once('=') {
            Some((name, value)) => {
                put_number(&mut binary, number, value.parse().expect(field));
                (format!("\"{name}\""), format!("\"{name}\""), value.to_owned())
            }
            None => map(&mut binary, number, kind),
        },
    };
    let (name, kind) = (name.to_owned(), kind.to_owned());
    Sample { name, kind, required, input, output, plain, binary }
}

fn nested(binary: &mut Vec<u8>, number: u32, fields: &str) -> (String, String, String) {
    let fields = samples(fields);
    put_bytes(binary, number, &encode(&fields));
    let object = |spell: fn(&str) -> String, value: fn(&Sample) -> &str| {
        let members: Vec<_> = fields
            .iter()
            .map(|field| format!("\"{}\":{}", spell(&field.name), value(field)))
            .collect();
        format!("{{{}}}", members.join(","))
    };
    (
        object(camel, |field| &field.input),
        object(camel, |field| &field.output),
        object(str::to_owned, |field| &field.plain),
    )
}

fn map(binary: &mut Vec<u8>, number: u32, kind: &str) -> (String, String, String) {
    let mut entry = |key: &str, value: &[u8]| {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, 1, key.as_bytes());
        bytes.extend_from_slice(value);
        put_bytes(binary, number, &bytes);
    };
    let same = |text: &str| (text.to_owned(), text.to_owned(), text.to_owned());
    match kind {
        "map_string" => {
            entry("k1", b"\x12\x01v");
            entry("k2", b"\x12\x00");
            same(r#"{"k1":"v","k2":""}"#)
        }
        "map_int64" => {
            entry("k1", b"\x10\x05");
            entry("k2", b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
            (
                r#"{"k1":5,"k2":"-1"}"#.to_owned(),
                r#"{"k1":"5","k2":"-1"}"#.to_owned(),
                r#"{"k1":5,"k2":-1}"#.to_owned(),
            )
        }
        "map_double" => {
            entry("k1", &[&b"\x11"[..], &0.1_f64.to_le_bytes()].concat());
            entry("k2", &[&b"\x11"[..], &f64::INFINITY.to_le_bytes()].concat());
            same(r#"{"k1":0.1,"k2":"Infinity"}"#)
        }
        "map_bool" => {
            entry("k1", b"\x10\x01");
            entry("k2", b"\x10\x00");
            same(r#"{"k1":true,"k2":false}"#)
        }
        _ => panic!("{kind}"),
    }
}

impl Sample {
    /// Returns the same map in another order, in JSON; any other value as it is.
    pub(crate) fn shuffled(&self) -> String {
        if !self.kind.starts_with("map_") {
            return self.input.clone();
        }
        let mut entries: Vec<_> = self.input.trim_matches(['{', '}']).split(',').collect();
        entries.reverse();
        format!("{{{}}}", entries.join(","))
    }

    /// Returns other values of the field, in JSON.
    pub(crate) fn others(&self) -> Vec<String> {
        let list: &[&str] = match &*self.kind {
            "string" | "app" => &["\"another\"", "\"Another\"", "\"text\""],
            "bool" => &["false"],
            "int32" => &["43", "0", "1"],
            "int64" | "time" => &["9007199254740992", "0", "\"7\""],
            "list" => &["[]", "[\"\",\"name\"]", "[\"name\"]", "[\"name\",\"\",\"\"]"],
            "Coordinates" => {
                &["{}", "{\"x\":1.5}", "{\"y\":1.5}", "{\"x\":-0.1,\"y\":1.5}", "{\"x\":\"NaN\"}"]
            }
            "DeviceContext" => &[
                "{}",
                "{\"osVersion\":\"1\"}",
                "{\"appVersion\":\"1\"}",
                "{\"screenWidth\":1}",
                "{\"isEmulator\":true}",
                "{\"isJailbroken\":true}",
                "{\"platform\":1}",
                "{\"platform\":77}",
                "{\"networkType\":1}",
            ],
            "PurchaseItems" => &[
                "[{}]",
                "[{},{}]",
                "[{\"quantity\":1},{}]",
                "[{},{\"quantity\":1}]",
                "[{\"priceCents\":1},{}]",
                "[{\"productId\":\"a\"}]",
                "[{\"productName\":\"a\"}]",
            ],
            "map_string" => &[
                "{}",
                "{\"k1\":\"v\"}",
                "{\"k2\":\"v\",\"k1\":\"\"}",
                "{\"k1\":\"v\",\"k2\":\"\",\"k3\":\"\"}",
                "{\"k1\":\"\",\"v\":\"k2\"}",
                "{\"k1\":\"v\",\"k2\":\"k\"}",
            ],
            "map_int64" => &["{}", "{\"k1\":5,\"k2\":1}", "{\"k1\":-1,\"k2\":5}", "{\"k1\":5}"],
            "map_double" => &["{}", "{\"k1\":0.1,\"k2\":1}", "{\"k1\":0.1,\"k2\":\"NaN\"}"],
            "map_bool" => &["{}", "{\"k1\":true,\"k2\":true}", "{\"k1\":false,\"k2\":true}"],
            _ => &["0", "5", "99"],
        };
        // An empty map or list is the same as none, which is tried by leaving the field out.
        let is_empty = |other: &str| match &*self.kind {
            "Coordinates" | "DeviceContext" => false,
            _ => matches!(other, "{}" | "[]" | "0" | "false"),
        };
        let others = list.iter().filter(|other| !is_empty(other));
        others.map(|other| (*other).to_owned()).filter(|other| *other != self.input).collect()
    }
}
