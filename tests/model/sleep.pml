/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping and waking: subscribers by the doorbell (wait_announce, wait_barrier, wait_sleep;
 * ring_commit, ring_wake_one, ring_wake_subscribers), or with KICK the drain by its eventfd
 * (ring_drain_sleeps, ring_drain_wakes; ring_commit, ring_kick_drain). Nothing here has a
 * time-out: who sleeps beside a record sleeps for ever, and the search ends in an invalid end
 * state.
 *
 * Loads and stores are single steps in some order of all, but for the one that matters: the store
 * of a committed word may stay in its publisher's store buffer, behind the loads that follow it,
 * until the processor pleases, or a membarrier or a locked instruction of its own passes.
 *
 * The record at position p is published by publisher p modulo 2, so they are committed in any
 * order, and read in the order of positions. futex_wake() wakes who has slept longest, as Linux
 * does among tasks that are not real-time; with ANY_ORDER it wakes anybody.
 *
 * Who was woken looks at the bell and at n_sleepers; LOADS_SWAPPED in the other order, LOADS_AT_ONCE
 * in one step, where the search is large enough without.
 *
 * With STORM n_sleepers never becomes larger than that: subscribers do not wake each other for
 * ever over nothing.
 *
 * With DIE a publisher may die before any step and a subscriber may die when it has been woken;
 * then GUARD, the daemon, rings for everybody after it has drained something, and kicks its own
 * drain for a publisher that has died.
 *
 * With NAP as well as KICK publishers wait for acknowledgements and so kick in any case, and the drain
 * does not announce that it sleeps, but lets kicks get through again (ring_drain_rearm).
 *
 * RECORDS, SLEEPERS, STORM, ANY_ORDER, KICK, NAP, DIE, GUARD and LOADS_* choose what is searched. Every
 * other name in an #ifdef puts one mistake in: the negative controls of run.sh.
 */
#ifndef RECORDS
#define RECORDS 4 /* in all, of two publishers */
#endif
#ifndef SLEEPERS
#define SLEEPERS 2
#endif

#define NOTHING 255
#define MANY 2 /* or more */

bool committed[RECORDS];      /* ring memory: the word at this position is committed */
byte buffered[2] = NOTHING;   /* store buffers: the position whose word waits in it */
byte rung[SLEEPERS] = MANY;   /* publish page: doorbell, less what each has loaded of it */
byte n_sleepers;              /* wait page: none, one or MANY */
bool attention;               /* govern page: GOVERN_DRAIN_ASLEEP */
bool drain_kicked;            /* publish page */
bool eventfd;                 /* it can be read */
bool asleep[SLEEPERS];        /* in futex_wait on the doorbell */
chan queue = [SLEEPERS] of { byte }; /* the same in the order in which they came */
byte n_stopped;               /* publishers that died or have finished */
bool died;                    /* one of them died, and the daemon has not acted yet */

#define QUIET (n_stopped == 2 && buffered[0] == NOTHING && buffered[1] == NOTHING)
#define AVAILABLE(pos) (pos < RECORDS && committed[pos])

inline flush(p)
{
	if
	:: buffered[p] != NOTHING ->
		committed[buffered[p]] = true;
		buffered[p] = NOTHING
	:: else
	fi
}

/* Every processor passes a full barrier, one after the other. */
inline membarrier()
{
#ifndef NO_MEMBARRIER
	do
	:: atomic { p < 2 -> flush(p); p++ }
	:: atomic { p == 2 -> p = 0; break }
	od
#else
	skip
#endif
}

/* Adds to publish->doorbell, a locked instruction. */
inline ring_bell(n)
{
	atomic {
		k = 0;
		do
		:: k < SLEEPERS ->
			rung[k] = (rung[k] + n > MANY -> MANY : rung[k] + n);
			k++
		:: k == SLEEPERS -> k = 0; break
		od
	}
}

/* FUTEX_WAKE on the doorbell: up to n of those who sleep. */
inline futex_wake(n)
{
	atomic {
		k = n;
		do
#ifdef ANY_ORDER
		:: k > 0 && asleep[0] -> queue??0; asleep[0] = false; k--
		:: k > 0 && asleep[1] -> queue??1; asleep[1] = false; k--
#endif
		:: k > 0 && nempty(queue) -> queue?who; asleep[who] = false; k--
		:: k == 0 || empty(queue) -> break
		od;
		k = 0;
		who = 0
	}
}

#ifdef DIE
#define MAY_DIE :: atomic { died = true; break }
#else
#define MAY_DIE
#endif

active [2] proctype publisher()
{
	byte me = _pid, pos = _pid, seen, k, who;

	do
	:: pos >= RECORDS -> break
	:: pos < RECORDS ->
		atomic { flush(me) } /* ring_reserve: the tail's CAS is a locked instruction */
#ifdef SLEEPERS_BEFORE_COMMIT
		seen = n_sleepers;
		buffered[me] = pos;
#else
		if
		:: buffered[me] = pos /* ring_commit: release store of the word */
		MAY_DIE
		fi;
		if /* load wait->n_sleepers, govern->attention */
#ifdef NAP
		:: seen = 1 /* ack_wait */
#elif defined(KICK)
		:: seen = attention
#else
		:: seen = n_sleepers
#endif
		MAY_DIE
		fi;
#endif
		pos = pos + 2;
		if
		:: atomic { seen == 0 -> goto next }
		:: seen != 0
		fi;
#ifdef KICK
		if
		:: atomic { /* ring_kick_drain: exchange of publish->drain_kicked */
			flush(me);
			seen = !drain_kicked;
			drain_kicked = true
		   }
		MAY_DIE
		fi;
		if
		:: atomic { seen -> eventfd = true } /* write to kick_fd */
		:: !seen
		MAY_DIE
		fi;
#else
		if
		:: atomic { /* ring_wake_one: exchange of wait->n_sleepers */
			flush(me);
			seen = (n_sleepers < MANY -> n_sleepers : MANY);
			n_sleepers = 0
		   }
		MAY_DIE
		fi;
		if
		:: atomic { seen == 0 -> goto next }
		:: seen != 0
		fi;
#ifndef NO_DOORBELL
		if
#ifdef RINGS_ALIKE
		:: atomic { ring_bell(1); seen = 0 }
#else
		:: atomic { ring_bell(seen); seen = 0 } /* once for one sleeper, twice for more */
#endif
		MAY_DIE
		fi;
#endif
		futex_wake(1);
#endif
next:		seen = 0
	od;
	atomic { seen = 0; pos = 0; n_stopped++ }
}

/* Store buffers empty themselves sooner or later. */
active proctype processors()
{
end:	do
	:: atomic { buffered[0] != NOTHING -> flush(0) }
	:: atomic { buffered[1] != NOTHING -> flush(1) }
	od
}

#ifndef KICK
active [SLEEPERS] proctype subscriber()
{
	byte me = _pid - 3, pos, p, k, who;

	do
	:: AVAILABLE(pos) -> pos++ /* ring_read */
	:: atomic { !AVAILABLE(pos) -> /* wait_announce: load publish->doorbell */
		rung[me] = 0
	   }
#ifdef BARRIER_BEFORE_ANNOUNCE
		membarrier();
#endif
		atomic { /* add to wait->n_sleepers, a locked instruction */
#ifdef STORM
			n_sleepers++;
			assert(n_sleepers <= STORM)
#else
			n_sleepers = (n_sleepers < MANY -> n_sleepers + 1 : MANY)
#endif
		}
#ifndef BARRIER_BEFORE_ANNOUNCE
		membarrier(); /* wait_barrier */
#endif
#ifndef NO_RECHECK
		if
		:: AVAILABLE(pos) -> goto next /* look at the ring again */
		:: !AVAILABLE(pos)
		fi;
#endif
#ifdef BELL_AFTER_RECHECK
		rung[me] = 0;
#endif
		atomic { /* wait_sleep: compares and sleeps */
			if
			:: rung[me] == 0 ->
				asleep[me] = true;
				queue!me
			:: else -> goto next
			fi
		}
		if
		:: !asleep[me] /* woken */
		:: atomic { QUIET && asleep[me] && !AVAILABLE(pos) -> /* nothing will come */
			asleep[me] = false;
			queue??eval(me);
			break
		   }
		fi;
#ifdef DIE
		if
		:: break
		:: skip
		fi;
#endif
		/*
		 * Whoever was woken wakes two others, but only if the bell has rung since it
		 * announced itself: everybody before it in the queue has been woken already. And
		 * not if it has rung once, for one sleeper, and that was this one: its own
		 * announcement has been taken. It may have been woken in place of another.
		 */
#if defined(ALWAYS_CHAIN)
		futex_wake(2);
#elif !defined(NO_CHAIN)
#if defined(LOADS_SWAPPED)
		k = (n_sleepers != 0 -> 1 : 0);
		p = rung[me];
#elif defined(LOADS_AT_ONCE)
		atomic { p = rung[me]; k = (n_sleepers != 0 -> 1 : 0) }
#elif defined(STOLEN_ALONE)
		p = rung[me];
#else
		p = rung[me]; /* load publish->doorbell */
		k = (n_sleepers != 0 -> 1 : 0); /* load wait->n_sleepers */
#endif
		if
		:: atomic { p == 0 || (p == 1 && k == 0) -> p = 0; k = 0 }
		:: atomic { p > 1 || (p == 1 && k == 1) -> p = 0; k = 0 }
			futex_wake(2)
		fi;
#endif
next:		rung[me] = MANY /* it does not matter any more */
	:: pos == RECORDS -> break
	od
}

#ifdef GUARD
/* The daemon, after it has drained something: ring_wake_subscribers. */
active proctype guard()
{
	byte pos, k, who;

end:	do
	:: AVAILABLE(pos) ->
		pos++;
		n_sleepers = 0;
		ring_bell(1);
		futex_wake(SLEEPERS)
	od
}
#endif
#else
active proctype drain()
{
	byte pos, p;
#ifdef NAP
	bool kicked;
#endif

	do
	:: AVAILABLE(pos) -> pos++
#ifdef NAP
	:: !AVAILABLE(pos) ->
		atomic { /* ring_drain_rearm: exchange of publish->drain_kicked */
			kicked = drain_kicked;
			drain_kicked = false
		}
#ifndef NO_RECHECK
		if
		:: atomic { kicked -> kicked = false; goto wake } /* look at the ring again */
		:: !kicked
		fi;
#endif
		if
		:: eventfd -> eventfd = false /* epoll_wait, read */
		:: QUIET && !eventfd && !AVAILABLE(pos) -> break /* nothing will come */
		fi;
wake:		skip
#else
	:: !AVAILABLE(pos) -> /* ring_drain_sleeps */
#ifndef KICKED_STAYS
		drain_kicked = false;
#endif
#ifndef BARRIER_BEFORE_ANNOUNCE
		attention = true;
#endif
		membarrier();
#ifdef BARRIER_BEFORE_ANNOUNCE
		attention = true;
#endif
#ifndef NO_RECHECK
		if
		:: AVAILABLE(pos) -> goto wake /* look at the ring again */
		:: !AVAILABLE(pos)
		fi;
#endif
		if
		:: eventfd -> eventfd = false /* epoll_wait, read */
		:: QUIET && !eventfd && !AVAILABLE(pos) -> break /* nothing will come */
		fi;
wake:		attention = false /* ring_drain_wakes */
#endif
	od
}

#ifdef GUARD
/* The control thread, told of a death by the kernel. */
active proctype guard()
{
end:	do
	:: atomic { died && n_stopped > 0 ->
		died = false;
		eventfd = true
	   }
	od
}
#endif
#endif
