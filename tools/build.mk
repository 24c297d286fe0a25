# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
TOOLS_SRCS += \
	tools/advise_look.c \
	tools/advise_try.c \
	tools/bench_ack.c \
	tools/bench_advise.c \
	tools/bench_axis.c \
	tools/bench_catchup.c \
	tools/bench_chart.c \
	tools/bench_clock.c \
	tools/bench_daemon.c \
	tools/bench_disk.c \
	tools/bench_hist.c \
	tools/bench_idle.c \
	tools/bench_kernel.c \
	tools/bench_leat.c \
	tools/bench_load.c \
	tools/bench_machine.c \
	tools/bench_memory.c \
	tools/bench_page.c \
	tools/bench_pair.c \
	tools/bench_peer.c \
	tools/bench_plot.c \
	tools/bench_proc.c \
	tools/bench_publish.c \
	tools/bench_rate.c \
	tools/bench_replay.c \
	tools/bench_report.c \
	tools/bench_restart.c \
	tools/bench_ring.c \
	tools/bench_server.c \
	tools/bench_socket.c \
	tools/bench_store.c \
	tools/bench_stream.c \
	tools/bench_table.c \
	tools/bench_team.c \
	tools/bench_wake.c \
	tools/cmd_bench.c \
	tools/cmd_dump.c \
	tools/cmd_pub.c \
	tools/cmd_replay.c \
	tools/cmd_stat.c \
	tools/cmd_stream.c \
	tools/cmd_sub.c \
	tools/cmd_top.c \
	tools/cmd_verify.c \
	tools/escape.c \
	tools/leat.c \
	tools/out.c \
	tools/print.c \
	tools/progress.c \
	tools/split.c \
	tools/state.c \
	tools/table.c \
	tools/tool.c \
	tools/units.c \
	# end of TOOLS_SRCS

# Drivers of leat's peers: leat-bench-<name> is made of tools/peer_<name>.c where the library it
# drives is installed, and left out where it is not.
PEERS += \
	nats \
	nng \
	redis \
	zeromq \
	# end of PEERS

nats_LIBS := $(shell $(PKG_CONFIG) --libs libnats 2>/dev/null)
# Debian's nng comes without a .pc file.
nng_LIBS := $(shell $(CC) -E -include nng/nng.h -x c /dev/null >/dev/null 2>&1 && echo -lnng)
redis_LIBS := $(shell $(PKG_CONFIG) --libs hiredis 2>/dev/null)
zeromq_LIBS := $(shell $(PKG_CONFIG) --libs libzmq 2>/dev/null)
