//! Tests of the key rules: the keys that must never change, the rules that are refused, and the properties of every key
//! under random rules.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn rules(chars: &str, min: usize, max: usize) -> KeyRules {
    KeyRules::parse(chars, min, max).expect("valid rules")
}

/// Returns the error that refuses these rules. There must be exactly one.
fn refused(chars: &str, min: usize, max: usize) -> String {
    let errors = KeyRules::parse(chars, min, max).expect_err("the rules must be refused");
    assert!(errors.iter().all(|problem| problem.gravity == Gravity::Error), "{errors:?}");
    let [error] = &errors[..] else { panic!("not one error: {errors:?}") };
    error.to_string()
}

/// The keys of the dependency `payments` under some rules.
struct Golden {
    rules: KeyRules,
    bits: u32,
    /// The keys for `order-1` and for `주문-1`; `None` if the caller's key is sent as it is.
    sent: [Option<&'static str>; 2],
    /// The cancel keys of `order-1`: of generation 0, of generation 1, and of generation 1 with the salt 7. The first
    /// two have the salt 0.
    cancels: [&'static str; 3],
}

/// Returns some rules with their keys. The keys were computed by a second program (Python's `hashlib` and integers),
/// and not by this crate. An action that was sent under one of these keys is sent again under the same key. So no
/// version may change them.
fn golden() -> Vec<Golden> {
    vec![
        Golden {
            rules: KeyRules::default(),
            bits: 130,
            sent: [None, Some("swOAAkejzXUCOKjCDzWNsXLQ")],
            cancels: ["swqWaKizXWpgZhXyAsfUQSIs", "swfGbmb06DXogTZU74nURB0D", "swLJ9z0jYlcGXtyq4QjLmPFW"],
        },
        Golden {
            rules: rules("A-Za-z0-9_-", 16, 256),
            bits: 130,
            sent: [Some("swG0dnh8lcWqsbfBczgB3h8r"), Some("swOAAkejzXUCOKjCDzWNsXLQ")],
            cancels: ["swqWaKizXWpgZhXyAsfUQSIs", "swfGbmb06DXogTZU74nURB0D", "swLJ9z0jYlcGXtyq4QjLmPFW"],
        },
        // A mapped key consists of letters and digits only, if 128 bits of the hash fit. Here it would then need 24
        // bytes, and the greatest length is 23. So it consists of any allowed characters.
        Golden {
            rules: rules("!-~", 1, 23),
            bits: 131,
            sent: [None, Some("swKA2%kD5,-m]m8TG!B+Au")],
            cancels: ["sw!IMvTrt#f'HLFiX~'QyC", "sw,1CCt$T'oH~HN2<h'JIN", "swh?0C3dea`ZaS6|gJXSGc"],
        },
        // A mapped key is a prefix of two characters and the hash. In digits it needs 41 bytes, which is just the
        // greatest length. So all of it, with the prefix, consists of digits, and `_` and `-` are not used.
        Golden {
            rules: rules("0-9_-", 1, 41),
            bits: 129,
            sent: [
                Some("01905976218374269173431236925251311052137"),
                Some("01340287551659487505930024515863148111156"),
            ],
            cancels: [
                "01658611296716307037032715730021897948530",
                "01733702812322510253622438917391344991905",
                "01141410031364037447626223568056033924566",
            ],
        },
        // With the same characters, the greatest length is one byte too short for a mapped key of digits. So all
        // allowed characters are used, in the prefix too.
        Golden {
            rules: rules("0-9_-", 1, 40),
            bits: 129,
            sent: [
                Some("-0-127960245-7_96_703327665756010689-8"),
                Some("-0-06726109795909_-_-88812_37150488507"),
            ],
            cancels: [
                "-024458687870079237-61_2-30124_3372105",
                "-0885190_56904658-96017581380059705804",
                "-0605_--665_8--039200445-7426933728989",
            ],
        },
        // The hash is written as a number whose digits are the allowed characters. The only allowed letter or digit is
        // `a`, and one digit is not enough to write a number. So all allowed characters are used.
        Golden {
            rules: rules("+-/a", 1, 64),
            bits: 129,
            sent: [
                Some("+,+,..-.--++.a./+a/+,-/,/,..-,-,.a--,.-.,+-a+//a+/,."),
                Some("+,a.///,-.+,a+.a,/-//+,aaa/-,/,a/a.-,aaaa-.+.a++/+.-"),
            ],
            cancels: [
                "+,+a.,,+a-/,,//++.+...,.-a/a-+./a.,-a/--.+,/-a++,-.+",
                "+,+++/+,+--++--a--+..-a///-.-a+a/a--,-/+++.+aa-,++-a",
                "+,-+,+--/.+a+-,/,.,.,a+a/a/++,++.//+++.+.a+,/+-,,,,/",
            ],
        },
        Golden {
            rules: rules("0-9", 1, 40),
            bits: 126,
            sent: [
                Some("0105976218374269173431236925251311052137"),
                Some("0140287551659487505930024515863148111156"),
            ],
            cancels: [
                "0158611296716307037032715730021897948530",
                "0133702812322510253622438917391344991905",
                "0141410031364037447626223568056033924566",
            ],
        },
        Golden {
            rules: rules("A-Z0-9", 1, 20),
            bits: 93,
            sent: [Some("015O8PPLDDNE9F6H4T49"), Some("01AGOBZQABTKBZWIN0OK")],
            cancels: ["0133L9HTCMX8YEIAH08I", "01E3KYSFH5TE8O0IZD0H", "0199B5TO10MO0IN1OD7A"],
        },
        // A key must have at least 52 bytes: the prefix and 50 hexadecimal digits, which hold 200 bits of the hash. 128
        // bits would fit into fewer.
        Golden {
            rules: rules("0-9a-f", 52, 64),
            bits: 200,
            sent: [
                Some("01b5d0558c7df1499a4c747203155309852c0c58ccc8a3332569"),
                Some("014a59a62a7bb887c8419fd3aa855186c4a957784802b4362534"),
            ],
            cancels: [
                "014481d35f273fad16858278a2ce39fd84061d1938e0baef4d72",
                "011d5e62e63b885c792e76fe3115dda742f019d0875a03f3fea1",
                "01ecd4b5b03970fe1510d31c3917aa447e21e3a7ffe953eed5d6",
            ],
        },
        // A key must have 70 bytes, which are more digits than the hash has. So zeros stand before the hash.
        Golden {
            rules: rules("0-9A-F", 70, 70),
            bits: 256,
            sent: [
                Some("0100008E10EC8B467231B5D0558C7DF1499A4C747203155309852C0C58CCC8A3332569"),
                Some("01000021C5C0733EC43D4A59A62A7BB887C8419FD3AA855186C4A957784802B4362534"),
            ],
            cancels: [
                "010000D3D38CD4FC6FAE4481D35F273FAD16858278A2CE39FD84061D1938E0BAEF4D72",
                "0100004965E443CAA8DD1D5E62E63B885C792E76FE3115DDA742F019D0875A03F3FEA1",
                "010000F6D7B597C4FB28ECD4B5B03970FE1510D31C3917AA447E21E3A7FFE953EED5D6",
            ],
        },
        Golden {
            rules: rules("ws", 1, 130),
            bits: 128,
            sent: [
                Some(
                    "swswwwswssswwwsswssssssswwssswswswswswsswwsssswsswwsssswswsswswwsssssswwssswswwssswwsswwsswwsswssswswssswwsswwsswwsswsswswswwswssw",
                ),
                Some(
                    "swwsswwwwwwwswsswwwswswswswsssswswswswssswwsssswwswwssswsswswswsswswswswwwswwwwsssswsswssssssssswswswwswsssswwswwssswsswswsswwswss",
                ),
            ],
            cancels: [
                "swwssssswsswwwwssswswssswswwsswwwssswwwsswwwwwwwswwsssswssssssswwsssswwwswssswwsswsswwwssswwwssssswswwwswswwwswwwwswsswwswswwwssws",
                "swswwwswwswwwwwwwssswwssswssswswswwwswwwswwswsswwwswsssswswwwwssssssswwsswwwswsssswsssswwwswswwswssssssswwwwwwsswwwwwwwwwswswssssw",
                "swwwswsswwssswwwsssswwwsswssswswwwwswswswsswssswssswwwwwwssswsssswwwwssswwwswsswwwwwwwwwwwwwwswsswswswsswwwwwswwwswwswswswwwswswws",
            ],
        },
    ]
}

#[test]
fn keys_never_change() {
    for Golden { rules, bits, sent, cancels } in golden() {
        assert_eq!(rules.bits(), bits, "{rules:?}");
        for (key, expected) in ["order-1", "주문-1"].into_iter().zip(sent) {
            assert_eq!(rules.sent("payments", key, 0).as_deref(), expected, "{key}: {rules:?}");
        }
        for ((generation, salt), expected) in [(0, 0), (1, 0), (1, 7)].into_iter().zip(cancels) {
            let cancel = rules.cancel_key("payments", "order-1", generation, salt);
            assert_eq!(cancel, expected, "generation {generation}, salt {salt}: {rules:?}");
        }
    }
    let salted = rules("A-Za-z0-9_-", 16, 256).sent("payments", "order-1", 1);
    assert_eq!(salted.as_deref(), Some("swyUxeC58Oads0lTCloqUzO9"));
}

#[test]
fn key_that_fits_is_sent_as_it_is() {
    let rules = rules("A-Za-z0-9_-", 16, 256);
    for fitting in ["order-2026-11-30", "0123456789abcdef", &"x".repeat(256)] {
        assert_eq!(rules.sent("payments", fitting, 0), None);
        assert_eq!(rules.sent("payments", fitting, 3), None, "the salt has no influence");
    }
    for odd in
        ["", "order-2026-11-3", "order:2026-11-30", "order 2026-11-30", "주문-2026-11-30", &"x".repeat(257)]
    {
        let mapped = rules.sent("payments", odd, 0).expect("a mapped key");
        assert!(rules.fits(&mapped), "{odd}: {mapped}");
    }
    assert_eq!(KeyRules::default().sent("payments", "a", 0), None);
    assert!(KeyRules::default().sent("payments", "order 1", 0).is_some(), "a space is not visible");
}

#[test]
fn caller_cannot_choose_a_mapped_key() {
    let rules = rules("A-Za-z0-9_-", 16, 256);
    let mapped = rules.sent("payments", "order-1", 0).expect("it is too short");
    let aimed = rules.sent("payments", &mapped, 0).expect("it begins with the prefix");
    assert_ne!(aimed, mapped);
}

#[test]
fn prefix_consists_of_allowed_characters() {
    for (chars, prefix) in [
        ("!-~", "sw"),
        ("a-z", "sw"),
        ("sw", "sw"),
        ("A-Z", "AB"),
        ("a-s", "ab"),
        ("z_-", "-_"),
        ("9876", "67"),
        ("A-Z_-", "AB"),
        ("!-r", "01"),
    ] {
        let key = rules(chars, 1, 255).cancel_key("payments", "order-1", 0, 0);
        assert!(key.starts_with(prefix), "{chars}: {key}");
    }
    for (chars, max, prefix) in
        [("!-~", 23, "sw"), ("!-r", 23, "!\""), ("A-Z_-", 29, "-A"), ("A-Z_-", 30, "AB")]
    {
        let key = rules(chars, 1, max).cancel_key("payments", "order-1", 0, 0);
        assert!(key.starts_with(prefix), "{chars} {max}: {key}");
    }
}

#[test]
fn characters_are_read_and_written() {
    for (written, shown, count) in [
        ("!-~", "!-~", 94),
        ("A-Za-z0-9_-", "-0-9A-Z_a-z", 64),
        ("-_0-9zA-Za-z", "-0-9A-Z_a-z", 64),
        ("ab", "ab", 2),
        ("abca-b", "a-c", 3),
        ("-a", "-a", 2),
        ("+-", "-+", 2),
        ("a-", "-a", 2),
        ("+-/", "+-/", 5),
        ("[]", "[]", 2),
        ("[-]", "[-]", 3),
        ("\\-\\x", "\\-\\x", 2),
        ("Z-^", "Z-^", 5),
        ("A-Za-z0-9-_", "-0-9A-Z_a-z", 64),
        ("0-9-A-Z", "-0-9A-Z", 37),
        ("a-z-9", "-9a-z", 28),
        ("a-c-e", "-a-ce", 5),
        ("a-c-e-g", "-a-ce-g", 7),
        ("-a-c-e-", "-a-ce", 5),
        ("0-9-_-a", "-0-9_-a", 14),
        ("+-/-9", "+-/9", 6),
    ] {
        let chars = KeyChars::parse(written).expect(written);
        assert_eq!((chars.to_string().as_str(), chars.count()), (shown, count), "{written}");
    }
    assert_eq!(KeyChars::parse("!-~"), Ok(KeyChars::default()));
}

#[test]
fn wrong_characters_are_refused() {
    for (chars, expected) in [
        ("", "key.chars: no character is allowed (as in \"A-Za-z0-9_-\")"),
        ("a", "key.chars: only one character is allowed (a mapped key needs at least two)"),
        ("--", "key.chars: only one character is allowed (a mapped key needs at least two)"),
        ("z-a", "key.chars: the range `z-a` is reversed (write `a-z`)"),
        (
            "A-Z 0-9",
            "key.chars: ` ` is not a visible ASCII character (the characters from ! to ~ can be used)",
        ),
        (
            "A-Z\n",
            "key.chars: `\\n` is not a visible ASCII character (the characters from ! to ~ can be used)",
        ),
        (
            "가-힣",
            "key.chars: `가` is not a visible ASCII character (the characters from ! to ~ can be used)",
        ),
    ] {
        assert_eq!(refused(chars, 1, 255), expected);
    }
    for chars in ["a--", "+--", "---", "--9", "a-z--", "a-z--9", "a-z---", "Z-\\-_", "\\-\\-_", "a-z-\\-\\"] {
        assert!(refused(chars, 1, 255).contains("a `-` stands where it is no range"), "{chars}");
    }
    assert!(refused("[A-Za-z0-9]", 1, 255).contains("brackets"));
    for chars in ["\\w-", "0-9\\-_", "A-Z\\-", "a\\-z"] {
        assert!(refused(chars, 1, 255).contains("the `\\` would be read"), "{chars}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    for (min, max, expected) in [
        (0, 40, "key.min: this number must be at least 1 (no action has an empty key)"),
        (256, 300, "key.min: this number must be at most 255 (the ledger records no longer keys)"),
        (1, 0, "key.max: this number must be at least 1 (no key would be short enough)"),
        (40, 30, "key.min: the least length 40 is above the greatest, 30"),
        (
            1,
            21,
            "key.max: keys could collide: a mapped key would have only 63 bits of its hash \
             (with these 10 characters, 41 bytes would be safe for any number of keys)",
        ),
    ] {
        assert_eq!(refused("0-9", min, max), expected);
    }
    for max in [1, 2, 3] {
        assert!(refused("0-9", 1, max).contains("keys could collide"));
    }
    let both = KeyRules::parse("z-a", 40, 30).expect_err("two errors");
    assert_eq!(both.iter().map(|problem| problem.setting).collect::<Vec<_>>(), ["key.chars", "key.min"]);
    let one =
        KeyRules::parse("z-a", 1, 3).expect_err("the length is judged together with the characters only");
    assert_eq!(one.len(), 1, "{one:?}");
}

#[test]
fn few_bits_are_noted() {
    for (chars, max, bits, noted) in
        [("0-9", 22, 66, true), ("0-9", 30, 93, true), ("0-9", 31, 96, false), ("0-9a-f", 18, 64, true)]
    {
        let rules = rules(chars, 1, max);
        let problems = rules.check();
        assert_eq!((rules.bits(), problems.len()), (bits, usize::from(noted)), "{chars} {max}: {problems:?}");
        for problem in problems {
            assert_eq!((problem.gravity, problem.setting), (Gravity::Note, "key.max"));
            assert!(problem.to_string().contains(&format!("only {bits} bits")), "{problem}");
        }
    }
    assert!(KeyRules::default().check().is_empty());
}

/// What a key is computed from: dependency, caller's key, generation of the cancel (`None` for a perform), salt.
type Wanted = (String, String, Option<u32>, u32);

fn key_of(rules: &KeyRules, wanted: &Wanted) -> String {
    let (dependency, key, generation, salt) = wanted;
    match generation {
        Some(generation) => rules.cancel_key(dependency, key, *generation, *salt),
        None => rules.sent(dependency, key, *salt).unwrap_or_else(|| key.clone()),
    }
}

/// Generates sets of allowed characters. Each has at least two characters, and at most all 94 visible ones.
fn sets() -> impl Strategy<Value = KeyChars> {
    let visible = || FIRST..=LAST;
    let ranges = prop::collection::vec((visible(), visible()), 1..4);
    let single = prop::collection::vec(visible(), 0..6);
    (ranges, single).prop_filter_map("fewer than two characters", |(ranges, single)| {
        let of_ranges = ranges.into_iter().flat_map(|(one, two)| one.min(two)..=one.max(two));
        let bits = of_ranges.chain(single).fold(0, |bits, byte| bits | bit(byte));
        (bits.count_ones() >= 2).then_some(KeyChars { bits })
    })
}

fn any_rules() -> impl Strategy<Value = KeyRules> {
    let lengths = (1_usize..=255, 0_usize..=300);
    let short = (1_usize..=20, 8_usize..=60);
    (sets(), prop_oneof![lengths, short])
        .prop_filter_map("refused", |(chars, (min, more))| KeyRules::new(chars, min, min + more).ok())
}

/// Generates what a key is computed from. The texts are short and similar, and many are equal. Others are equal only
/// when the dependency and the key are joined, such as `a` with `1-` and `a1` with `-`: two such keys must still
/// differ.
fn wanted() -> impl Strategy<Value = Wanted> {
    let key = prop_oneof!["[a1-]{0,3}", "(sw|01|!\")?[!-~]{0,30}", "\\PC{0,20}"];
    ("[a1]{0,2}", key, prop::option::of(0_u32..3), 0_u32..3)
}

proptest! {
    #[test]
    fn every_key_is_legal(rules in any_rules(), wanted in wanted()) {
        let key = key_of(&rules, &wanted);
        prop_assert!(rules.fits(&key), "{} for {:?}", key, wanted);
        prop_assert!((TOO_FEW_BITS..=256).contains(&rules.bits()));
    }

    #[test]
    fn keys_differ(rules in any_rules(), all in prop::collection::vec(wanted(), 2..40)) {
        let mut seen = HashMap::new();
        for mut wanted in all {
            let as_it_is = wanted.2.is_none() && rules.sent(&wanted.0, &wanted.1, wanted.3).is_none();
            if as_it_is {
                // The caller's key is sent as it is, so it depends neither on the dependency nor on the salt.
                (wanted.0, wanted.3) = (String::new(), 0);
            }
            let before = seen.insert(key_of(&rules, &wanted), (as_it_is, wanted.clone()));
            prop_assert!(before.is_none_or(|before| before == (as_it_is, wanted)));
        }
    }

    #[test]
    fn key_that_is_legal_and_without_the_prefix_is_kept(rules in any_rules(), wanted in wanted(), extra in 0_usize..20) {
        // Each byte of the random text (`wanted.1`) selects one of the allowed characters. So the key fits the rules.
        let chars: Vec<u8> = rules.chars().in_order().collect();
        let bytes = wanted.1.bytes().chain(std::iter::repeat(b'x'));
        let length = rules.max().min(rules.min() + extra);
        let key: String = bytes.take(length).map(|byte| char::from(chars[usize::from(byte) % chars.len()])).collect();
        let prefix = String::from_utf8(rules.prefix().to_vec()).expect("ASCII");
        prop_assert!(rules.fits(&key));
        prop_assert_eq!(rules.sent("pay", &key, 0).is_some(), key.starts_with(&prefix));
    }

    #[test]
    fn mapped_keys_have_the_prefix(rules in any_rules(), wanted in wanted()) {
        let (dependency, key, generation, salt) = &wanted;
        let mapped = rules.cancel_key(dependency, key, generation.unwrap_or(0), *salt);
        prop_assert!(mapped.as_bytes().starts_with(&rules.prefix()));
        prop_assert!(rules.sent(dependency, &mapped, 0).is_some(), "a caller could choose {}", mapped);
    }

    #[test]
    fn mapped_keys_consist_of_letters_and_digits_where_they_suffice(rules in any_rules(), wanted in wanted()) {
        let mapped = rules.cancel_key(&wanted.0, &wanted.1, 0, wanted.3);
        let count = rules.chars().in_order().filter(u8::is_ascii_alphanumeric).count() as u128;
        // The number of different mapped keys that consist of letters and digits and are not too long. `None` if the
        // number is 2^128 or more. Only then can letters and digits hold the 128 bits of the hash that a mapped key
        // should have.
        let keys = (PREFIX..rules.max()).try_fold(1_u128, |keys, _| keys.checked_mul(count));
        if keys.is_none() {
            prop_assert!(mapped.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", mapped);
            prop_assert!(rules.bits() >= BITS);
        } else {
            prop_assert_eq!(rules.alphabet, rules.chars);
        }
    }

    #[test]
    fn written_sets_are_read_again(chars in sets()) {
        prop_assert_eq!(KeyChars::parse(&chars.to_string()), Ok(chars), "{}", chars);
    }

    #[test]
    fn any_text_is_read_or_refused(written in "[!\\-\\\\\\[\\]a-c~ ]{0,8}") {
        if let Ok(chars) = KeyChars::parse(&written) {
            prop_assert_eq!(KeyChars::parse(&chars.to_string()), Ok(chars));
        }
    }
}
