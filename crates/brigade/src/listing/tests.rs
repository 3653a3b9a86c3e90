use std::cell::Cell;
use std::collections::VecDeque;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

/// A page as S3 answers it.
fn page<'a>(keys: &'a [String], prefix: &str, after: Option<&str>, size: usize) -> (&'a [String], bool) {
    let begin = keys.partition_point(|key| after.is_some_and(|after| key.as_str() <= after));
    let begin = begin.max(keys.partition_point(|key| key.as_str() < prefix));
    let end = (begin + size).min(keys.len());
    let ours = keys[begin..end].iter().take_while(|key| key.starts_with(prefix)).count();
    let more = keys.get(begin + ours).is_some_and(|key| key.starts_with(prefix));
    (&keys[begin..begin + ours], more)
}

struct Measured {
    calls: usize,
    empty: usize,
    rounds: usize,
    /// The most requests in flight.
    most: usize,
}

/// Lists with every request taking one round.
fn simulate(keys: &[String], prefix: &str, in_flight: usize) -> Measured {
    let mut shards = Shards::new(prefix, in_flight);
    let mut line = VecDeque::new();
    let (mut calls, mut empty, mut now) = (0, 0, 0);
    let mut seen = Vec::new();
    let mut most = 0;
    loop {
        while let Some(request) = shards.next_request() {
            calls += 1;
            line.push_back((now + 1, request));
        }
        most = most.max(line.len());
        let Some((at, request)) = line.pop_front() else { break };
        now = at;
        let (found, more) = page(keys, prefix, request.after.as_deref(), 1000);
        let ours = shards.answer(request.range, found, more).expect("it goes on");
        empty += usize::from(ours == 0);
        seen.extend(found[..ours].iter().cloned());
    }
    seen.sort();
    assert!(seen == keys, "every key once");
    Measured { calls, empty, rounds: now, most }
}

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn families(n: u64) -> Vec<(&'static str, Vec<String>)> {
    let mut random = Random(7);
    let r = &mut random;
    let mut families: Vec<(&'static str, Vec<String>)> = vec![
        ("numbers, zero-padded", (0..n).map(|i| format!("key-{i:07}")).collect()),
        ("numbers, 12 digits", (0..n).map(|i| format!("{i:012}")).collect()),
        ("numbers, not padded", (0..n).map(|i| format!("key-{i}")).collect()),
        ("hex hashes", (0..n).map(|_| format!("{:016x}{:016x}", r.next(), r.next())).collect()),
        ("hex hashes, two folders", (0..n).map(|_| { let h = format!("{:016x}", r.next()); format!("objects/{}/{}/{h}", &h[..2], &h[2..4]) }).collect()),
        ("UUIDs", (0..n).map(|_| format!("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}.json", r.below(1 << 32), r.below(1 << 16), r.below(1 << 12), 0x8000 + r.below(1 << 14), r.below(1 << 48))).collect()),
        ("dates y/m/d/h", (0..n).map(|i| { let hour = i / 12; let day = hour / 24; format!("logs/{}/{:02}/{:02}/{:02}/{:08x}.gz", 2023 + day / 365, 1 + day % 365 * 12 / 365, 1 + day % 365 * 12 % 365 / 12 % 31, hour % 24, r.below(1 << 32)) }).collect()),
        ("date names", (0..n).map(|i| { let m = i * 5; let day = m / 1440; format!("AWSLogs/111111111111/CloudTrail/eu-west-1/{}/{:02}/{:02}/x_{}{:02}{:02}T{:02}{:02}Z_{:08x}.json.gz", 2024 + day / 372, 1 + day % 372 / 31, 1 + day % 31, 2024 + day / 372, 1 + day % 372 / 31, 1 + day % 31, m / 60 % 24, m % 60, r.below(1 << 32)) }).collect()),
        ("hive partitions", (0..n).map(|i| { let d = i / 50; format!("tables/events/dt={}-{:02}-{:02}/part-{:04}.parquet", 2019 + d / 372, 1 + d % 372 / 31, 1 + d % 31, i % 50) }).collect()),
        ("hive, region and date", (0..n).map(|i| { let d = i / 100; format!("t/region={}/dt={}-{:02}-{:02}/part-{:05}-{:016x}.parquet", ["ap-northeast-1", "ap-south-1", "eu-central-1", "eu-west-1", "us-east-1", "us-west-2"][(d % 6) as usize], 2023 + d / 6 / 372, 1 + d / 6 % 372 / 31, 1 + d / 6 % 31, i % 100, r.next()) }).collect()),
        ("few huge folders, many tiny", (0..n).map(|i| if i % 10 < 9 { format!("{}/{:08}.jpg", ["camera", "phone", "scans"][(i % 3) as usize], i) } else { format!("users/{:05}/profile.json", i / 10) }).collect()),
        ("users' folders", (0..n).map(|i| format!("users/{:06}/{}/{}.jpg", r.below(n / 20), ["2023", "2024", "avatar"][(i % 3) as usize], r.below(100_000_000))).collect()),
        ("words", (0..n).map(|i| { let mut w = String::new(); for _ in 0..2 + i % 3 { w.push_str(["an", "ba", "co", "de", "er", "fi", "go", "hu", "in", "ka", "lo", "me", "no", "or", "pe", "ra", "st", "th", "un", "we"][(r.below(20) * r.below(20) / 20) as usize]); } format!("{w}/{}-{}.txt", ["red", "green", "blue", "old"][r.below(4) as usize], r.below(10000)) }).collect()),
        ("unicode", (0..n).map(|i| format!("写真/{}{}/{:06}.jpg", char::from_u32(0x4e00 + (r.below(500)) as u32).unwrap_or('x'), char::from_u32(0x3041 + (i % 80) as u32).unwrap_or('x'), i)).collect()),
        ("one deep folder", (0..n).map(|i| format!("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/file-{i:09}.bin")).collect()),
        ("a long prefix, then a counter", (0..n).map(|i| format!("{}/{i:08}", "very-long-name/".repeat(60))).collect()),
        ("skewed", (0..n).map(|i| format!("{:04x}/{:010}", r.below(65536).min(r.below(65536)).min(r.below(65536)).min(r.below(65536)) , i)).collect()),
        ("one crowded day", (0..n).map(|i| if i % 10 < 8 { format!("d/2024-03-17/{:016x}", r.next()) } else { format!("d/2024-{:02}-{:02}/{:016x}", 1 + i % 12, 1 + i % 28, r.next()) }).collect()),
        ("base64 names", (0..n).map(|_| { let a = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"; (0..12).map(|_| a[r.below(64) as usize] as char).collect() }).collect()),
        ("folders of a thousand", (0..n).map(|i| format!("photos/{:04}/{:04}.jpg", i / 1000, i % 1000)).collect()),
        ("times in ms", (0..n).map(|i| format!("events/{}-{:04x}.json", 1_700_000_000_000u64 + i * 3571 + r.below(3000), r.below(65536))).collect()),
    ];
    for (_, keys) in &mut families {
        keys.sort();
        keys.dedup();
    }
    families
}

/// The rounds that a listing of 100,000 keys may take: a dozen where names are spread evenly, more
/// where a calendar or folders of many sizes make guesses miss.
fn rounds_allowed(family: &str) -> usize {
    match family {
        "hex hashes" | "hex hashes, two folders" | "UUIDs" | "base64 names" | "times in ms" => 14,
        "hive partitions" | "few huge folders, many tiny" | "hive, region and date" | "words" => 35,
        _ => 24,
    }
}

#[test]
fn few_requests_and_few_rounds_whatever_the_names() {
    let mut table = String::new();
    let mut missed = Vec::new();
    for n in [5000, 100_000] {
        for (name, keys) in families(n) {
            let least = keys.len().div_ceil(1000);
            let Measured { calls, empty, rounds, most } = simulate(&keys, "", IN_FLIGHT);
            let row = format!("{name:30} {n:7} {least:4} {calls:4} {empty:4} {rounds:3} {most:3}\n");
            let few = calls <= (least * 12 / 10).max(least + 4) && rounds <= rounds_allowed(name);
            if !few {
                missed.push(row.clone());
            }
            table.push_str(&row);
        }
    }
    assert!(
        missed.is_empty(),
        "too many: {missed:#?}\nkeys, least, calls, empty, rounds, most at once\n{table}"
    );
    // Shown with `--nocapture`.
    #[expect(clippy::print_stderr, reason = "a table to read")]
    {
        eprintln!("keys, least, calls, empty, rounds, most at once\n{table}");
    }
}

/// Names that share beginnings, are beginnings of others, or share nothing; some long, some that
/// JSON writes at length.
fn keys() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        "[ab/]{1,6}",
        "[0-9]{1,4}",
        "(a|b)/2024-[01][0-9]-[0-3][0-9]/[0-9a-f]{1,3}",
        "[\\u{1}\"é写\u{e000}\u{10ffff}a]{1,5}",
        "[\u{1}\"]{900,1000}x",
        any::<String>().prop_filter("a key", |text| (1..=1024).contains(&text.len())),
    ];
    proptest::collection::btree_set(name, 0..400).prop_map(|keys| keys.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_key_is_handed_on_once(
        keys in keys(),
        prefix in prop_oneof![Just(""), Just("a"), Just("a/"), Just("2"), Just("写"), Just("none")],
        size in 1..40_usize,
        in_flight in 1..70_usize,
        turns in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 1..60),
    ) {
        let mut shards = Shards::new(prefix, in_flight);
        let mut asked: Vec<Request> = Vec::new();
        let mut seen = Vec::new();
        for (which, what) in turns.iter().cycle() {
            while let Some(request) = shards.next_request() {
                prop_assert!(request.after.as_ref().is_none_or(|after| after.len() <= 1024));
                asked.push(request);
            }
            prop_assert!(asked.len() <= in_flight.min(RANGES));
            if asked.is_empty() {
                break;
            }
            let request = asked.swap_remove(which.index(asked.len()));
            let (found, more) = page(&keys, prefix, request.after.as_deref(), size);
            let ours = shards.answer(request.range, found, more)?;
            seen.extend(found[..ours].iter().cloned());
            if let Some(cursor) = shards.checkpoint() {
                let json = serde_json::to_string(&cursor)?;
                prop_assert!(json.len() <= CURSOR_BYTES && cursor.ranges.len() <= RANGES, "{}", json.len());
                // Stopped here; what is in flight is lost.
                if what % 8 == 0 {
                    shards = Shards::resume(prefix, in_flight, &serde_json::from_str(&json)?);
                    asked.clear();
                }
            }
        }
        prop_assert_eq!(shards.checkpoint(), None);
        seen.sort();
        let expected: Vec<_> = keys.into_iter().filter(|key| key.starts_with(prefix)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_name_so_far_from_another_is_that_far(
        page in proptest::collection::btree_set("[a-c]{2}/[0-9a-f]{4}", 3..50),
        pages in 1..20_u32,
    ) {
        let page: Vec<_> = page.into_iter().collect();
        let sample = Sample { first: page[0].clone(), last: page[page.len() - 1].clone(), keys: page.len() };
        let mut names = Names::default();
        names.learn(page.iter().map(String::as_str), &sample.first, &sample.last);
        let scale = names.scale(&sample);
        let width = scale.distance(&sample.first, &sample.last);
        prop_assert!(width > 0.0);
        let distance = width * f64::from(pages) / 8.0;
        let short = (width / 1000.0).max(scale.step());
        // What sums of weights such as thirds differ by.
        let rounding = width * 1e-9;
        if let Some(name) = scale.advance(&sample.first, distance, width / 1000.0) {
            let missing = distance - scale.distance(&sample.first, &name);
            prop_assert!((-rounding..short + rounding).contains(&missing), "{name} is {missing} short of {distance}");
        } else {
            let nothing = scale.distance("", &sample.first) + distance < short;
            prop_assert!(nothing || distance + rounding > scale.to_the_end(&sample.first));
        }
    }
}

fn objects(keys: &[String]) -> Vec<PageObject> {
    let object = |key: &String| crate::listed::Listed::of("photos", key).to_object().expect("an object");
    keys.iter().map(|key| PageObject { object: object(key), modified: None, etag: None }).collect()
}

#[test]
fn a_lister_stops_when_time_is_up_and_resumes() {
    let keys: Vec<String> = (0..100_000_u32).map(|i| format!("{:08x}", i * 42_949)).collect();
    let calls = Cell::new(0);
    let list = |after: Option<String>| {
        calls.set(calls.get() + 1);
        let (found, more) = page(&keys, "", after.as_deref(), 1000);
        future::ready(Ok::<_, AwsError>(Page { objects: objects(found), more }))
    };
    let mut seen = Vec::new();
    let mut legs = 0;
    let mut shards = Shards::new("", IN_FLIGHT);
    loop {
        legs += 1;
        let began = calls.get();
        let mut lister = Lister::new(shards, list);
        let has_time = || calls.get() < began + 50;
        while let Some(page) = lister.next_page(has_time).now_or_never().expect("ready").expect("listed") {
            seen.extend(page.into_iter().map(|object| object.object.key.to_string()));
        }
        assert!(calls.get() <= began + 50, "no request after the time is up");
        let Some(cursor) = lister.checkpoint() else { break };
        shards = Shards::resume("", IN_FLIGHT, &cursor);
    }
    seen.sort();
    assert!(seen == keys, "every key once");
    assert!((2..=4).contains(&legs), "{legs}");
}

#[test]
fn a_failed_request_ends_the_listing() {
    let slow_down = || AwsError::Transient("slow down".to_owned());
    let mut lister = Lister::new(Shards::new("", 4), |_| future::ready(Err::<Page, _>(slow_down())));
    assert_eq!(lister.next_page(|| true).now_or_never().expect("ready"), Err(slow_down()));
    assert_eq!(lister.checkpoint(), Some(Cursor { ranges: vec![KeyRange::default()] }));
}

#[test]
fn pages_that_more_follow_without_a_key_are_asked_for_a_few_times_only() {
    let keys: Vec<String> = (0..2500).map(|i| format!("{i:04}")).collect();
    for (idle, ends) in [(IDLE as usize - 1, true), (usize::MAX, false)] {
        for repeats in [false, true] {
            let calls = Cell::new(0);
            let list = |after: Option<String>| {
                calls.set(calls.get() + 1);
                let (found, more) = page(&keys, "", after.as_deref(), 1000);
                // From the second page on, without a key, or with keys that were not asked for.
                let page = match after.is_some() && calls.get() - 1 <= idle {
                    true => Page { objects: objects(if repeats { &keys[..1] } else { &[] }), more: true },
                    false => Page { objects: objects(found), more },
                };
                future::ready(Ok::<_, AwsError>(page))
            };
            let mut lister = Lister::new(Shards::new("", 1), list);
            let mut seen = 0;
            let end = loop {
                match lister.next_page(|| true).now_or_never().expect("ready") {
                    Ok(Some(page)) => seen += page.len(),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            if ends {
                assert_eq!((end, seen), (Ok(()), keys.len()));
            } else {
                let stuck = Stuck { after: Some("0999".to_owned()) };
                assert_eq!((end, seen, calls.get()), (Err(stuck.into()), 1000, 1 + IDLE as usize));
                assert_eq!(
                    lister.checkpoint().map(|left| left.ranges[0].after.clone()),
                    Some(Some("0999".to_owned()))
                );
            }
        }
    }
}

#[test]
fn a_page_that_holds_everything_is_one_request() {
    for n in [0, 1, 999, 1000] {
        let keys: Vec<String> = (0..n).map(|i| format!("a/{i:04}")).collect();
        let Measured { calls, .. } = simulate(&keys, "a/", IN_FLIGHT);
        assert_eq!(calls, 1, "{n}");
    }
}
