/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for an acknowledgement: wait_reached() of clientlib/ack.c on the two bells of the govern
 * page, ring_kick_drain() and ring_drain_rearm(), and what the drain does for those who wait
 * (shard_run_pass, ring_progress). Nothing here has a time-out and no pass comes by itself: who
 * sleeps beside what he waits for sleeps for ever, and the search ends in an invalid end state.
 *
 * Two publishers publish RECORDS in turns and wait for each of theirs, the first until it is
 * written, the second until it is durable, or both until then with BOTH_DURABLE. The bit of the
 * durable bell is the position's, of two (ring_ack_bit). The bells are words of two bits, and wrap;
 * with BELL_BITS=1 one comes round to what it was before somebody sleeps on it.
 *
 * The disk answers when it likes, and its answer wakes the drain (the io's fd in epoll). While it
 * is at work the drain does not rearm, so kicks are in vain until the pass that takes the answer.
 *
 * Every name in an #ifdef but RECORDS, BOTH_DURABLE and BELL_BITS puts one mistake in.
 */
#ifndef RECORDS
#define RECORDS 4
#endif
#ifndef BELL_BITS
#define BELL_BITS 2
#endif
#define BELL(bell) ((bell + 1) % (1 << BELL_BITS))
#define WRITTEN 0
#define DURABLE 1
#ifdef BOTH_DURABLE
#define LEVEL(p) DURABLE
#else
#define LEVEL(p) (p == 0 -> WRITTEN : DURABLE)
#endif
#define BIT(pos) (1 << ((pos) & 1))

byte tail;             /* records committed; committing is ring.pml's part */
byte written, durable; /* govern page, as the next */
byte bell[2];          /* written_bell, durable_bell */
bool drain_kicked;     /* publish page */
bool eventfd;          /* it can be read */
bool answered;         /* the io's fd can be read */
byte disk;             /* what it is at: nothing, a write, a sync */
byte disk_upto;
bool at_work;          /* it has not answered yet */
bool asleep[2];        /* in futex_wait */
byte bits[2];          /* for which */
byte n_done;

#define REACHED(pos) ((LEVEL(me) == DURABLE -> durable : written) > (pos))

active [2] proctype publisher()
{
	byte me = _pid, pos, seen;
	bool first;

	do
	:: atomic { tail < RECORDS && tail % 2 == me -> /* its turn; ring_commit, nobody is told */
		pos = tail;
		tail++;
		first = true
	   }
		do
		:: true ->
#ifndef BELL_LAST
			seen = bell[LEVEL(me)]; /* ring_bell */
#endif
			if
			:: REACHED(pos) -> break
			:: !REACHED(pos)
			fi;
			if /* ring_kick_drain: exchange of publish->drain_kicked, write to kick_fd */
#ifndef NO_KICK
			:: atomic { first -> first = false; first = !drain_kicked; drain_kicked = true }
				if
				:: first -> eventfd = true
				:: !first
				fi;
				first = false
#else
			:: first -> first = false
#endif
			:: !first
			fi;
#ifdef BELL_LAST
			seen = bell[LEVEL(me)];
#endif
			atomic { /* wait_futex_bits: compares and sleeps */
				if
				:: bell[LEVEL(me)] == seen ->
					asleep[me] = true;
					bits[me] = (LEVEL(me) == DURABLE -> BIT(pos) : 3)
				:: else
				fi;
				seen = 0
			}
			!asleep[me]
		od;
		atomic { pos = 0; seen = 0; first = false }
	:: atomic { tail == RECORDS -> n_done++; break }
	od
}

/* FUTEX_WAKE_BITSET of all who sleep on that bell with one of these bits. */
inline futex_wake(level, which)
{
	atomic {
		asleep[0] = asleep[0] && !(LEVEL(0) == level && (bits[0] & (which)) != 0);
		asleep[1] = asleep[1] && !(LEVEL(1) == level && (bits[1] & (which)) != 0)
	}
}

/* ring_ack_bits of [durable, upto) */
#define BITS(upto) \
	((upto) - durable >= 2 -> 3 : ((upto) - durable == 1 -> BIT(durable) : 0))

active proctype drain()
{
	byte pos, which, n;
	bool moved;

	do
	:: true -> /* drain_pass */
		moved = false;
		if
		:: atomic { answered -> /* io_reap, store_..._done */
			answered = false;
			moved = true
		   }
			if
			:: disk == 1 -> /* ring_progress(written) */
#ifdef BELL_BEFORE
				bell[WRITTEN] = BELL(bell[WRITTEN]);
				futex_wake(WRITTEN, 3);
				written = disk_upto
#else
				written = disk_upto;
#ifndef NO_WRITTEN_BELL
				bell[WRITTEN] = BELL(bell[WRITTEN]);
				futex_wake(WRITTEN, 3)
#endif
#endif
			:: disk == 2 -> /* ring_progress(durable) */
				which = BITS(disk_upto);
#ifdef BITS_AFTER
				durable = disk_upto;
				which = BITS(disk_upto);
#else
				durable = disk_upto;
#endif
				bell[DURABLE] = BELL(bell[DURABLE]);
				futex_wake(DURABLE, which)
			fi;
			atomic { disk = 0; disk_upto = 0; which = 0 }
		:: !answered
		fi;
		if /* shard_walk */
		:: atomic { pos < tail -> pos = tail; moved = true }
		:: pos == tail
		fi;
		atomic { /* shard_disk_pass: one thing at a time */
			if
			:: disk == 0 && written < pos -> disk = 1; disk_upto = pos; at_work = true; moved = true
			:: disk == 0 && written == pos && durable < written ->
				disk = 2; disk_upto = written; at_work = true; moved = true
			:: else
			fi
		}
		if
		:: atomic { moved -> moved = false }
		:: atomic { !moved && disk == 0 -> /* ring_drain_rearm: exchange */
#ifndef NO_REARM
			moved = drain_kicked;
			drain_kicked = false
#endif
		   }
			if
#ifndef NO_LOOK_AGAIN
			:: moved -> moved = false
			:: !moved -> goto rest
#else
			:: true -> moved = false; goto rest
#endif
			fi
		:: !moved && disk != 0 ->
			skip;
rest:			if /* epoll_wait */
			:: atomic { eventfd -> eventfd = false }
			:: answered
			:: n_done == 2 && !eventfd && !answered && disk == 0 -> break
			fi
		fi
	od
}

/* The disk answers when it likes. */
active proctype storage()
{
end:	do
	:: atomic { at_work -> at_work = false; answered = true }
	od
}
