//! Properties of the gate over random histories.

use proptest::prelude::*;

use super::tests::{RULE, figures};
use super::*;

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![6 => Just(Standing::Normal), 1 => Just(Standing::Accepted), 2 => Just(Standing::Suspicious)]
}

fn history(least: u64) -> impl Strategy<Value = Vec<Past>> {
    proptest::collection::vec((standing(), least..1_000_000_000_u64), 0..20)
        .prop_map(|all| all.into_iter().map(|(standing, rows)| Past { figures: figures(rows), standing }).collect())
}

fn is_suspicious(past: &[Past], new: Figures) -> bool {
    let habit = Habit::of(&RULE, Content::Full, past);
    habit.is_known && !fall(&RULE, Content::Full, habit.figures(past), new).is_none()
}

proptest! {
    #[test]
    fn growing_is_never_suspicious(past in history(0), more in 0..1_000_000_u64) {
        let most = past.iter().filter_map(|one| one.figures.rows).max().unwrap_or(0);
        prop_assert!(!is_suspicious(&past, figures(most + more)));
    }

    #[test]
    fn a_share_is_a_share_whatever_the_size(past in history(100_000), rows in 0..1_000_000_000_u64, factor in 1..1000_u64) {
        let scaled: Vec<Past> = past.iter().map(|one| Past { figures: figures(one.figures.rows.unwrap_or(0) * factor), ..*one }).collect();
        prop_assert_eq!(is_suspicious(&past, figures(rows)), is_suspicious(&scaled, figures(rows * factor)));
    }

    #[test]
    fn what_holds_less_is_no_less_suspicious(past in history(0), rows in 0..1_000_000_000_u64, less in 0..1_000_000_000_u64) {
        let fewer = figures(rows.saturating_sub(less));
        prop_assert!(!is_suspicious(&past, figures(rows)) || is_suspicious(&past, fewer));
    }

    #[test]
    fn suspicious_ones_never_count_for_the_habit(past in history(0), rows in 0..1_000_000_u64) {
        let without: Vec<Past> = past.iter().filter(|one| one.standing != Standing::Suspicious).copied().collect();
        prop_assert_eq!(is_suspicious(&past, figures(rows)), is_suspicious(&without, figures(rows)));
    }

    #[test]
    fn a_row_of_alike_ones_ends_by_itself(past in history(10_000), rows in 0..1_000_u64) {
        let mut past = past;
        for turn in 0.. {
            let habit = Habit::of(&RULE, Content::Full, &past);
            let new = figures(rows);
            let suspicious = is_suspicious(&past, new);
            if !suspicious {
                break;
            }
            let alike = alike(&RULE, Content::Full, &past, &habit, new);
            let mut standing = Standing::Suspicious;
            if is_new_habit(&RULE, alike, RULE.after_span) {
                standing = Standing::Normal;
                habit.doubted.iter().take(alike).for_each(|place| past[*place].standing = Standing::Accepted);
            }
            past.insert(0, Past { figures: new, standing });
            prop_assert!(turn < i64::from(RULE.after), "it never ended");
        }
    }
}
