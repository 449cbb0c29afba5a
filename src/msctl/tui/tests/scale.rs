//! A hundred thousand instances: what draws and what filters does not grow with them. Prints its
//! figures; asserts only what no busy machine can blur: how many rows are made.

use std::time::Instant;

use super::*;

/// A console over `services` services of `each` instances.
fn large(services: usize, each: usize) -> State {
    let mut state = blank(180, 50);
    let mut lease = 0;
    for service in 0..services {
        let entries: Vec<Entry> = (0..each)
            .map(|index| {
                lease += 1;
                let plain = instance(
                    &format!("service-{service:03}"),
                    &format!("service-{service:03}-{index:06}"),
                    if index % 7 == 0 { "1.4.1" } else { "1.4.2" },
                    4,
                    "a",
                    lease,
                );
                let value = String::from_utf8_lossy(&plain.value);
                let host = format!("10.{}.{}.", index / 250, index % 250);
                let value = value.replace("10.0.0.", &host).into_bytes().into();
                Entry { value, ..plain }
            })
            .collect();
        let part = if service + 1 == services {
            Part::Last
        } else {
            Part::More
        };
        let listed = Feed::Listed(Source::Services, Revision(9), entries, part);
        update(&mut state, at(0), Event::Feed(0, listed));
    }
    for source in [Source::Config, Source::Status] {
        let listed = Feed::Listed(source, Revision(9), Vec::new(), Part::Last);
        update(&mut state, at(0), Event::Feed(0, listed));
    }
    state.now = at(2);
    state.settle();
    state
}

fn median(mut run: impl FnMut()) -> std::time::Duration {
    let mut times: Vec<_> = (0..21)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_hundred_thousand_instances_draw_as_fast_as_a_hundred() {
    // The debug build takes ten times as long for each; its figures say nothing anyway.
    let many = if cfg!(debug_assertions) {
        5_000
    } else {
        100_000
    };
    for (services, each) in [(1, 100), (many / 1_000, 1_000), (1, many)] {
        let mut state = large(services, each);
        let look = look("dark");
        let mut buffer = Buffer::empty(Rect::new(0, 0, 180, 50));
        let draw = median(|| drop(view::draw(&state, &look, &mut buffer)));
        press(&mut state, "enter /");
        let mut turn = false;
        let filter = median(|| {
            turn = !turn;
            let key = if turn { "4" } else { "backspace" };
            press(&mut state, key);
        });
        assert_eq!(state.services.instances.total(), each);
        assert!(state.services.instances.visible().count() < 50);
        press(&mut state, "esc esc esc");
        let mut revision = 100;
        let change = median(|| {
            revision += 1;
            let put = instance("service-000", "service-000-000001", "1.4.3", 4, "a", 2);
            let put = Change::Put(Entry {
                mod_revision: Revision(revision),
                ..put
            });
            changed(&mut state, Source::Services, put);
            state.directory.refresh(at(2).mono);
        });
        press(&mut state, "7");
        let doctor = median(|| {
            state.doctor.list.outdate_now();
            state.settle();
        });
        eprintln!(
            "{services} x {each} instances: draw {draw:?}, filter keystroke {filter:?}, \
             a change {change:?}, the doctor's page {doctor:?}"
        );
    }
}
