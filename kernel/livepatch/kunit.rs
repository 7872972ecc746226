// SPDX-License-Identifier: GPL-2.0

//! KUnit tests: the cases of the modules that need no kernel, run in one.

use kernel::prelude::*;

#[kunit_tests(livepatch_names)]
mod names {
    use crate::names::cases;

    #[test]
    fn symbols_are_taken_apart() {
        cases::symbols_are_taken_apart();
    }

    #[test]
    fn bad_symbols_are_refused() {
        cases::bad_symbols_are_refused();
    }

    #[test]
    fn sections_name_their_object() {
        cases::sections_name_their_object();
    }

    #[test]
    fn zero_and_one_are_the_same_position() {
        cases::zero_and_one_are_the_same_position();
    }

    #[test]
    fn searches_count() {
        cases::searches_count();
    }

    #[test]
    fn matches_after_the_end_change_nothing() {
        cases::matches_after_the_end_change_nothing();
    }

    #[test]
    fn several_names_in_one_walk() {
        cases::several_names_in_one_walk();
    }

    #[test]
    fn marks_of_assemblers_are_no_names() {
        cases::marks_of_assemblers_are_no_names();
    }
}

#[kunit_tests(livepatch_phase)]
mod phase {
    use crate::phase::cases;

    #[test]
    fn numbers_are_the_abi() {
        cases::numbers_are_the_abi();
    }

    #[test]
    fn reversal_swaps_start_and_end() {
        cases::reversal_swaps_start_and_end();
    }

    #[test]
    fn retries_slow_down_to_a_second() {
        cases::retries_slow_down_to_a_second();
    }

    #[test]
    fn signals_come_every_fifteen_seconds() {
        cases::signals_come_every_fifteen_seconds();
    }
    #[test]
    fn looks_that_come_early_do_not_hurry_signals() {
        cases::looks_that_come_early_do_not_hurry_signals();
    }
}

#[kunit_tests(livepatch_ranges)]
mod ranges {
    use crate::ranges::cases;

    #[test]
    fn finds_each_byte_and_no_other() {
        cases::finds_each_byte_and_no_other();
    }

    #[test]
    fn overlapping_and_empty_ranges_merge() {
        cases::overlapping_and_empty_ranges_merge();
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        cases::nothing_is_found_in_nothing();
    }

    #[test]
    fn top_of_the_address_space() {
        cases::top_of_the_address_space();
    }

    #[test]
    fn agrees_with_a_linear_search() {
        cases::agrees_with_a_linear_search();
    }

    #[test]
    fn functions_end_at_the_next_symbol() {
        cases::functions_end_at_the_next_symbol();
    }

    #[test]
    fn sizes_agree_with_a_walk_for_each() {
        cases::sizes_agree_with_a_walk_for_each();
    }
}

#[kunit_tests(livepatch_sort)]
mod sort {
    use crate::sort::cases;

    #[test]
    fn sorts_what_is_not_sorted() {
        cases::sorts_what_is_not_sorted();
    }
}

#[kunit_tests(livepatch_route)]
mod route {
    use crate::route::cases;

    #[test]
    fn newest_patch_wins() {
        cases::newest_patch_wins();
    }

    #[test]
    fn transition_splits_the_way() {
        cases::transition_splits_the_way();
    }

    #[test]
    fn nops_lead_to_the_original() {
        cases::nops_lead_to_the_original();
    }

    #[test]
    fn function_twice_in_one_patch_is_all_or_nothing() {
        cases::function_twice_in_one_patch_is_all_or_nothing();
    }

    #[test]
    fn tables_are_never_full() {
        cases::tables_are_never_full();
    }

    #[test]
    fn probing_finds_all_that_was_put_in() {
        cases::probing_finds_all_that_was_put_in();
    }
}
