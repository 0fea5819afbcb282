//! One suite of tests for all stores: what holds on SQLite also holds on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(dead_code, unreachable_pub, reason = "shared with other tests, each of which uses its part")]

mod claims;
mod clocks;
mod declared;
mod functions;
mod hosts;
mod idle;
mod keeping;
mod late;
mod lists;
mod not_there;
mod on_postgres;
mod on_sqlite;
mod outages;
mod panics;
mod partly;
mod partners;
mod people;
mod places;
mod plain_sql;
mod plans;
mod polls;
mod pooler;
#[path = "../support/provider.rs"]
mod provider;
mod releases;
mod reloads;
mod replicas;
mod rows;
mod same_requests;
#[path = "../support/scratch.rs"]
mod scratch;
mod scratch_folder;
mod sent_keys;
mod starts;
mod suite;
mod versions;
mod walker;
mod world;

/// Makes a test on one store of each test of the suite.
macro_rules! on {
    ($part:ident, $new:path: $($name:ident)*) => {
        mod $part {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::$part::$name($new().await).await;
                }
            )*
        }
    };
}

/// The names of the tests in the suite.
macro_rules! suite {
    ($store:ident, $new:path) => {
        mod $store {
            on! { suite, $new:
                performs_at_once_and_keeps_the_answer
                what_is_recorded_in_a_transaction_shares_its_fate
                what_is_reserved_in_a_transaction_is_run_by_its_caller
                the_handler_shares_the_transaction_of_the_outcome
                a_handler_that_keeps_failing_is_counted_and_tried_until_it_is_mended
                two_workers_send_each_of_five_hundred_rows_once
                a_reserved_action_is_settled_with_the_business_row_or_undone
                a_settled_action_is_taken_back_with_the_business_row
                a_lost_answer_is_asked_about_and_never_sent_again
                a_lost_request_is_sent_again_only_after_the_quiet_time
                a_keyed_action_that_cannot_be_asked_about_is_sent_again_unchanged
                what_was_not_sent_is_tried_again
                a_refusal_fails_the_action_and_tells_the_handler
                what_a_dead_worker_left_is_asked_about_after_its_lease
                a_dependency_that_hangs_delays_no_other
                a_drain_finishes_what_is_under_way_and_takes_up_nothing
                a_scope_settles_together_or_not_at_all
                what_was_closed_as_absent_is_asked_about_once_more
            }
            on! { keeping, $new:
                one_key_is_one_action_in_every_way_of_recording
                a_scope_that_is_settled_already_runs_no_handler_again
                what_is_too_large_is_refused_before_anything_is_written
                a_stale_worker_changes_no_row
                no_row_is_claimed_twice
                lists_go_on_where_they_stopped_and_counts_are_bounded
                what_is_stuck_waits_for_a_person_whose_reason_is_kept
                only_what_ended_long_ago_is_deleted
                what_a_person_ends_is_kept_from_then_on
                many_processes_may_migrate_at_once_and_a_newer_schema_is_refused
            }
            on! { rows, $new:
                a_row_whose_fields_all_differ_is_read_as_it_was_written
                a_change_of_every_field_is_read_as_it_was_written
                a_line_of_the_log_is_completed_with_the_refusal
                a_row_that_contradicts_itself_is_named_and_stops_no_other
                a_scope_with_an_unreadable_member_is_given_up_until_the_lease_ends
            }
            on! { sent_keys, $new:
                mapped_keys_that_clash_take_the_next_salt
                many_clashes_in_one_batch_are_all_recorded
                what_plain_sql_recorded_gets_its_key_before_its_first_attempt
                a_key_that_never_left_is_used_anew_in_every_way
                a_key_without_a_name_is_mapped_before_it_is_used_anew
                what_could_not_be_sent_is_closed_for_a_waiting_caller
                what_could_not_be_settled_in_time_is_closed_unsent
            }
            on! { starts, $new:
                a_key_is_started_once_and_its_outcome_is_kept
                of_many_starts_of_one_key_one_sends
                what_was_not_sent_has_failed_and_its_key_is_started_anew
                what_cannot_be_settled_in_time_is_not_started
                a_key_without_a_name_is_mapped_before_it_is_started
                an_attempt_whose_caller_is_gone_is_asked_about
                an_end_after_the_lease_changes_nothing_that_is_known
                what_follows_an_outcome_needs_no_caller
                a_successor_goes_on_with_what_the_old_ledger_began
            }
            on! { reloads, $new:
                the_longer_quiet_time_counts
                the_shorter_life_of_a_key_counts
                an_outage_is_not_forgotten
            }
            on! { same_requests, $new:
                the_same_request_is_found_whatever_its_other_headers_are
                another_client_never_finds_an_action
                a_row_without_fingerprints_is_compared_by_its_bytes
            }
            on! { people, $new:
                an_order_for_another_version_changes_nothing
                a_person_cancels_what_is_settled_only_if_they_say_so
                a_search_finds_by_every_filter_and_goes_on
                what_is_stuck_is_told_until_it_is_taken_by_one_of_two_processes
                a_process_that_dies_while_it_tells_leaves_the_news_to_another
                a_receiver_that_hangs_delays_no_action
            }
            on! { partners, $new:
                nothing_is_sent_under_a_key_that_may_be_forgotten
                a_forgotten_key_of_a_provider_that_cannot_be_asked_is_left_to_a_person
                a_duplicate_is_never_believed_absent
                a_window_for_questions_that_ends_while_the_provider_is_away_leaves_it_to_a_person
                a_window_for_cancels_that_ends_while_the_provider_is_away_leaves_it_to_a_person
                a_cancel_that_is_refused_is_tried_under_a_new_key_each_time_and_then_stuck
                a_cancel_that_is_refused_for_ever_is_stuck_immediately
                a_refusal_is_given_back_with_its_body
                amounts_are_read_exactly_as_they_were_recorded
            }
            on! { partly, $new:
                a_full_cancel_undoes_what_partial_refunds_left
                what_contradicts_an_end_is_marked_and_changes_nothing
                a_report_is_settled_by_the_question_that_follows_it
                a_cancel_says_what_became_of_it
            }
            on! { outages, $new:
                an_outage_costs_few_requests_and_heals_by_itself
                a_claim_leaves_out_the_failing_rows_of_a_held_class
                many_stuck_actions_are_started_again_one_after_the_other
            }
            on! { lists, $new:
                a_list_has_all_rows_that_match_and_no_others
                the_versions_of_many_rows_are_read_together
            }
            on! { panics, $new:
                a_handler_that_panics_is_counted_and_keeps_the_outcome
                a_panic_in_a_scopes_handler_is_counted_and_settles_nothing
                a_remote_that_panics_gave_no_answer
            }
            on! { claims, $new:
                a_claim_does_what_the_machine_does
            }
            on! { declared, $new:
                what_another_process_declares_is_not_undeclared
                what_nobody_declares_is_stuck_after_its_time_and_goes_on_after_a_retry
                a_drain_gives_back_what_it_aborts
                a_process_that_ends_gives_back_what_it_has
            }
            on! { polls, $new:
                a_row_of_an_operation_that_is_not_declared_is_left_alone_and_counted
                undeclared_rows_do_not_stand_in_the_way_of_others
                what_a_transaction_recorded_is_found_within_one_poll
                a_retry_is_made_at_its_time_without_a_poll
                a_due_time_that_a_poll_has_seen_is_met
                a_dropped_worker_lets_its_actions_end
            }
        }
    };
}

/// Makes a test on one store of each test that two versions of the program take part in.
macro_rules! two_versions {
    ($part:ident, $world:path: $($name:ident)*) => {
        mod $part {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::$part::$name::<$world>().await;
                }
            )*
        }
    };
}

macro_rules! upgrades {
    ($store:ident, $world:path) => {
        mod $store {
            two_versions! { versions, $world:
                started_in_any_order_both_record_claim_and_finish
                an_older_program_goes_on_while_a_newer_one_migrates
                a_row_that_needs_more_is_left_to_the_newer_program
                what_a_newer_program_failed_is_used_anew_by_it_alone
                a_scope_with_a_newer_member_is_settled_by_the_newer_program
                tables_that_an_older_program_cannot_use_are_refused_in_words
            }
            two_versions! { releases, $world:
                every_row_is_read_and_nothing_is_lost
                the_first_release_refuses_the_updated_tables
                what_was_open_is_finished_if_its_effect_exists
                what_was_open_is_finished_if_its_effect_does_not_exist
            }
        }
    };
}

upgrades!(sqlite_upgrades, crate::world::SqliteWorld);
upgrades!(postgres_upgrades, crate::world::PostgresWorld);

suite!(sqlite, crate::world::SqliteWorld::new);
suite!(postgres, crate::world::PostgresWorld::new);
suite!(serializable, crate::world::PostgresWorld::serializable);
suite!(pooled, crate::world::PostgresWorld::pooled);
