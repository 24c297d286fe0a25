# SPDX-License-Identifier: Apache-2.0
# One file a line, sorted; the comment that closes a list keeps every line alike.
# The second word of a program's name says what it is linked with (see the Makefile):
# test_shm_ring gets shm and persist, test_daemon_drain the daemon as well, and so on.

# Linked into every test program written in C.
TEST_HELPER_SRCS += \
	tests/account.c \
	tests/crowd.c \
	tests/daemon_bed.c \
	tests/damage_bed.c \
	tests/disk_log.c \
	tests/fail_plan.c \
	tests/harness.c \
	tests/heartbeat.c \
	tests/image.c \
	tests/ledger.c \
	tests/load.c \
	tests/hostile.c \
	tests/party.c \
	tests/persist_log.c \
	tests/raw.c \
	tests/ring_bed.c \
	tests/stalled.c \
	tests/testpoints.c \
	# end of TEST_HELPER_SRCS

# libcheck programs, one per module.
UNIT_TESTS += \
	tests/test_clientlib_bus.c \
	tests/test_clientlib_control.c \
	tests/test_clientlib_damage.c \
	tests/test_clientlib_encode.c \
	tests/test_clientlib_keys.c \
	tests/test_clientlib_subscribe.c \
	tests/test_daemon_attach.c \
	tests/test_daemon_catalogue.c \
	tests/test_daemon_config.c \
	tests/test_daemon_directory.c \
	tests/test_daemon_dispatch.c \
	tests/test_daemon_drain.c \
	tests/test_daemon_fetch.c \
	tests/test_daemon_keeper.c \
	tests/test_daemon_log.c \
	tests/test_daemon_names.c \
	tests/test_daemon_notify.c \
	tests/test_daemon_options.c \
	tests/test_daemon_permission.c \
	tests/test_daemon_process.c \
	tests/test_daemon_protocol.c \
	tests/test_daemon_quantity.c \
	tests/test_daemon_registry.c \
	tests/test_daemon_restore.c \
	tests/test_daemon_retention.c \
	tests/test_daemon_session.c \
	tests/test_daemon_worker.c \
	tests/test_persist_file.c \
	tests/test_persist_format.c \
	tests/test_persist_io.c \
	tests/test_persist_reader.c \
	tests/test_persist_recover.c \
	tests/test_persist_seglist.c \
	tests/test_persist_segment.c \
	tests/test_persist_store.c \
	tests/test_persist_store_io.c \
	tests/test_persist_store_time.c \
	tests/test_persist_timeindex.c \
	tests/test_persist_verify.c \
	tests/test_shm_clock.c \
	tests/test_shm_crc32c.c \
	tests/test_shm_orphan.c \
	tests/test_shm_record.c \
	tests/test_shm_region.c \
	tests/test_shm_ring.c \
	tests/test_shm_ring_read.c \
	tests/test_shm_threads.c \
	tests/test_shm_wait.c \
	tests/test_tests_account.c \
	tests/test_tools_bench_advise.c \
	tests/test_tools_bench_axis.c \
	tests/test_tools_bench_chart.c \
	tests/test_tools_bench_hist.c \
	tests/test_tools_bench_peer.c \
	tests/test_tools_bench_report.c \
	tests/test_tools_bench_schedule.c \
	tests/test_tools_bench_team.c \
	tests/test_tools_print.c \
	tests/test_tools_split.c \
	tests/test_tools_units.c \
	# end of UNIT_TESTS

# Each replays tests/corpus/<name of the program>/.
FUZZ_TESTS += \
	tests/fuzz_controls.sh \
	tests/fuzz_client_reply.c \
	tests/fuzz_client_ring.c \
	tests/fuzz_daemon_catalogue.c \
	tests/fuzz_daemon_control.c \
	tests/fuzz_daemon_drain.c \
	tests/fuzz_daemon_session.c \
	tests/fuzz_daemon_text.c \
	tests/fuzz_ring.c \
	tests/fuzz_segment.c \
	tests/fuzz_tools_line.c \
	# end of FUZZ_TESTS

# .c or .sh from here on.
STRESS_TESTS += \
	tests/stress_hostile.c \
	tests/stress_publisher_killed.c \
	tests/stress_ring_moves.c \
	tests/stress_ring.c \
	tests/stress_soak.c \
	# end of STRESS_TESTS

CRASH_TESTS += \
	tests/crash_kills.c \
	tests/crash_stops.c \
	tests/crash_daemon_catalogue.c \
	tests/crash_points.c \
	tests/crash_publisher.c \
	tests/crash_ring.c \
	tests/crash_persist_damage.c \
	tests/crash_persist_power.c \
	# end of CRASH_TESTS

SYS_TESTS += \
	tests/sys_bench.sh \
	tests/sys_bench_peers.sh \
	tests/sys_cli_disk.sh \
	tests/sys_cli_pub.sh \
	tests/sys_cli_stream.sh \
	tests/sys_cli_usage.sh \
	tests/sys_client_limits.c \
	tests/sys_client_publish.c \
	tests/sys_client_subscribe.c \
	tests/sys_control_flood.c \
	tests/sys_control_keep.sh \
	tests/sys_damage.c \
	tests/sys_disk_faults.c \
	tests/sys_failing_clients.c \
	tests/sys_failing_commands.c \
	tests/sys_failing_daemon.c \
	tests/sys_failing_keeper.c \
	tests/sys_idle.sh \
	tests/sys_keeper.sh \
	tests/sys_kill_daemon.c \
	tests/sys_no_system_call.c \
	tests/sys_permission.c \
	tests/sys_permission_table.c \
	tests/sys_pid_reuse.c \
	tests/sys_product_instructions.c \
	tests/sys_readme.sh \
	tests/sys_reload.sh \
	tests/sys_replay.sh \
	tests/sys_retention.sh \
	tests/sys_ring_size.sh \
	tests/sys_scarcity.sh \
	tests/sys_second_daemon.sh \
	tests/sys_sizes.c \
	tests/sys_stat.sh \
	tests/sys_stopped_publisher.c \
	tests/sys_stopped_subscriber.sh \
	tests/sys_sub_options.sh \
	tests/sys_systemd_unit.sh \
	tests/sys_systemd_user.sh \
	tests/sys_tail_under_attack.c \
	tests/sys_tools_end.sh \
	# end of SYS_TESTS

# Guards are taken out, and the gate that is there for each has to fail.
CONTROLS += \
	tests/control_bus.sh \
	tests/control_failing.sh \
	tests/control_stops.sh \
	tests/control_storage.sh \
	# end of CONTROLS

LINTS += \
	tests/lint_abi.sh \
	tests/lint_coverage.sh \
	tests/lint_format.sh \
	tests/lint_layers.sh \
	tests/lint_man.sh \
	tests/lint_order.sh \
	tests/lint_runner.sh \
	tests/lint_selftest.sh \
	tests/lint_size.sh \
	tests/lint_style.sh \
	tests/lint_symbols.sh \
	tests/lint_text.sh \
	# end of LINTS
