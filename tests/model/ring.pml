/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ring: reserve, fill, commit, die (shm/ring.h: ring_reserve, ring_commit), drain, tombstones
 * and holes (shm/orphan.h), ring_reclaim, ring_read. Every access to shared memory is one step,
 * in some order of all steps (what the edges of shm/ring.c have to bring about); a publisher may
 * die before each of them.
 *
 * A position counts cells of 32 bytes; a record takes one or two of them. The second cell of a
 * record holds payload: as a commit word it would be garbage. Names are those of shm/layout.h.
 *
 * Ghosts are looked at by assertions only. Each is a function of the rest of the state, so they
 * cost no states.
 *
 *   AT    of a cell: the position it was written for. Tells a word or payload of another lap.
 *   own   of a publisher: 1 + the position that it has reserved and not committed.
 *   owed  number of records committed and not yet drained.
 *
 * What is asserted, besides the absence of deadlock:
 *   - the tail never passes the limit, and free memory is zero when it is reserved;
 *   - the drain takes only records of its position and lap, whole; the word that a publisher
 *     commits is still its reserved word, at or after the drain's position; only what a dead
 *     publisher left uncommitted becomes a tombstone. Together: what was committed is drained,
 *     once, in order, and is never a tombstone for anybody;
 *   - what ring_read returns is what was published there, whole, never of another lap;
 *   - when the publishers have stopped, drain and reader reach the tail.
 *
 * A local variable that is not needed any more is set to 0, so that equal states are equal.
 * RING, END, PUBS, NO_READER, ONE_READ, RUNS, RESTART and REUSE choose what is searched. Every
 * other name in an #ifdef puts one mistake in: the negative controls of run.sh.
 */
#ifndef RING
#define RING 4 /* ring_len */
#endif
#ifndef END
#define END 8 /* nothing is reserved beyond: the number of laps */
#endif
#ifndef PUBS
#define PUBS 2
#endif

/* enum record_kind, and PAYLOAD for a cell that is not a header. */
#define FREE 0
#define RESERVED 1
#define COMMITTED 2
#define TOMBSTONE 3
#define PAYLOAD 4

#define WORD(kind, owner, span, at) ((kind) + ((owner) << 3) + ((span) << 5) + ((at) << 8))
#define KIND(w) ((w) & 7)
#define OWNER(w) (((w) >> 3) & 3)
#define SPAN(w) (((w) >> 5) & 7)
#define AT(w) ((w) >> 8)
#define CELL(pos) word[(pos) % RING]
#define FINISHED(w) (KIND(w) == COMMITTED || KIND(w) == TOMBSTONE)

short word[RING];  /* ring memory */
byte tail;         /* publish page */
bit claim[PUBS];   /* publish page: the parity of the slot's counter */
byte limit = RING; /* govern page */
byte reclaimed;    /* govern page */

bool dead[PUBS];   /* what the kernel tells the daemon, by pidfd */
byte n_stopped;    /* publishers that died or have finished */
byte drained;      /* the drain's private position */
byte watched;      /* 1 + the slot whose counter the drain compares; 0: it differs by now */

byte own[PUBS];    /* ghost */
byte owed;         /* ghost */
#ifdef RESTART
bool restarted;
byte walked;       /* ghost: where the drain had been before */
#endif

#define ALL_DONE (n_stopped == PUBS && drained == tail)
#ifdef REUSE
#define GONE skip
#else
#define GONE n_stopped++
#endif
#define DIE atomic { dead[me] = true; own[me] = 0; GONE; pos = 0; span = 0; break }
#ifdef NO_CLAIM
#define CLAIM_NEXT skip
#else
#define CLAIM_NEXT claim[me] = !claim[me]; watched = (watched == me + 1 -> 0 : watched)
#endif

active [PUBS] proctype publisher()
{
	byte me = _pid, pos, span;
#ifdef REUSE
	byte dead_tail;
	bool reused;

begin:
#endif
	do
	:: atomic { CLAIM_NEXT } /* ring_reserve: slot->claim becomes odd */
again:		if
		:: atomic { /* load publish->tail */
			pos = tail;
			if
			:: pos == END ->
				CLAIM_NEXT;
				n_stopped++;
				pos = 0;
				break
			:: pos < END -> span = 1
			:: pos + 1 < END -> span = 2
			fi
		   }
		:: DIE
		fi;
#ifndef NO_LIMIT_IN_RESERVE
		if
		:: pos + span <= limit /* load govern->limit: there is room */
		:: atomic { pos + span > limit -> /* RING_E_FULL */
			CLAIM_NEXT
		   }
			if
			:: atomic { pos + span <= limit -> /* limit_bell rang; try again */
				pos = 0;
				span = 0;
				goto next
			   }
			:: DIE
			fi
		:: DIE
		fi;
#endif
		if
		:: atomic { /* CAS of publish->tail */
			if
			:: tail == pos ->
				tail = pos + span;
				own[me] = pos + 1;
				assert(tail <= limit)
			:: else ->
				pos = 0;
				span = 0;
				goto again
			fi
		   }
		:: DIE
		fi;
#ifdef CLAIM_EVEN_EARLY
		atomic { CLAIM_NEXT };
#endif
		if
		:: atomic { /* store the reserved word */
			assert(drained <= pos);
			assert(CELL(pos) == FREE);
			CELL(pos) = WORD(RESERVED, me, span, pos)
		   }
		:: DIE
		fi;
#ifndef CLAIM_EVEN_EARLY
		if
		:: atomic { /* slot->claim becomes even */
			CLAIM_NEXT;
			if
			:: span == 1 -> goto commit /* there is no more to it than its header */
			:: else
			fi
		   }
		:: DIE
		fi;
#endif
#ifdef COMMIT_BEFORE_PAYLOAD
		CELL(pos) = WORD(COMMITTED, 0, span, pos);
#endif
		if
		:: atomic { span == 2 -> /* fill in the record */
			assert(CELL(pos + 1) == FREE);
			CELL(pos + 1) = WORD(PAYLOAD, 0, 0, pos + 1)
		   }
#ifdef CLAIM_EVEN_EARLY
		:: span == 1
#endif
		:: DIE
		fi;
commit:		if
		:: atomic { /* ring_commit: release store of the committed word */
#ifndef COMMIT_BEFORE_PAYLOAD
			assert(CELL(pos) == WORD(RESERVED, me, span, pos));
			assert(drained <= pos);
#endif
			CELL(pos) = WORD(COMMITTED, 0, span, pos);
			own[me] = 0;
			owed++;
			pos = 0;
			span = 0
		   }
		:: DIE
		fi;
next:		skip
	od;
#ifdef REUSE
	/* The slot is free again when all that its owner can have left is drained. */
	if
	:: atomic { dead[me] && !reused -> dead_tail = tail }
		if
		:: atomic {
#ifndef REUSE_AT_ONCE
			drained >= dead_tail ->
#endif
			dead_tail = 0; /* ring_publisher_init by the next owner */
			reused = true;
			claim[me] = 0;
			dead[me] = false;
			goto begin
		   }
		:: atomic { dead_tail = 0; n_stopped++ }
		fi
	:: atomic { dead[me] && reused -> n_stopped++ }
	:: !dead[me]
	fi
#endif
}

/* No living publisher has a reservation in [from, to): it may become a tombstone. */
inline assert_nobodys(from, to)
{
	assert(i == 0);
	do
	:: i < PUBS ->
		assert(dead[i] || own[i] == 0 || own[i] - 1 < from || own[i] - 1 >= to);
		i++
	:: else -> break
	od;
	i = 0
}

/*
 * With RESTART the daemon dies once, anywhere. What it knew by itself is gone; it begins again
 * where it last made the ring's memory free, which is the worst case: what has been walked
 * already is found in the segments.
 */
#ifdef RESTART
#define WALKED walked
#define DAEMON_DIES \
	:: atomic { !restarted -> \
		restarted = true; \
		walked = drained; \
		drained = reclaimed; \
		watched = 0; \
		w = 0; end = 0; i = 0; hole = 0; waiting = false; from = 0; upto = 0; \
		goto next \
	   }
#else
#define WALKED 0
#define DAEMON_DIES
#endif

/*
 * The drain's thread: the walk from its private position, the burial of what the dead left, and
 * ring_reclaim. It blocks on nobody: what cannot go on now stays as it is, and other work is done.
 */
active proctype drain()
{
	short w;         /* a reserved word seen at the drain's position */
	byte end;        /* not 0: a hole is suspected; it ends here at the latest */
	byte i, hole;
	bool waiting;    /* for slot i to be seen even or changed */
	byte upto, from; /* what is being reclaimed */

next:	do
	:: atomic { w == 0 && end == 0 &&
		/* A word at or above the limit is of the lap before: not looked at. */
#ifndef NO_LIMIT_IN_DRAIN
		drained < limit &&
#endif
		(CELL(drained) != FREE || drained < tail) ->
		w = CELL(drained); /* load_acquire of the word */
		assert(KIND(w) != PAYLOAD);
		assert(w == FREE || AT(w) == drained);
		if
		:: FINISHED(w) ->
			if
			:: KIND(w) == COMMITTED ->
				owed = owed - (drained >= WALKED -> 1 : 0);
				assert(SPAN(w) == 1 ||
				       CELL(drained + 1) == WORD(PAYLOAD, 0, 0, drained + 1))
			:: else
			fi;
			drained = drained + SPAN(w);
			w = 0;
			goto next
		:: KIND(w) == RESERVED
		:: KIND(w) == FREE -> /* a hole? */
#ifdef TAIL_AFTER_CLAIMS
			end = 1
#else
			end = tail /* a later tail is what a later look would see */
#endif
		fi
	   }
	:: atomic { w != 0 && CELL(drained) != w -> w = 0 } /* it was committed */
	:: atomic { w != 0 && dead[OWNER(w)] -> /* bury: CAS of the reserved word */
#ifndef BURY_BY_STORE
		if
		:: CELL(drained) == w
		:: else ->
			w = 0;
			goto next
		fi;
#endif
		assert(CELL(drained) == w);
		assert_nobodys(drained, drained + SPAN(w));
		CELL(drained) = WORD(TOMBSTONE, 0, SPAN(w), drained);
		w = 0
	   }
#ifdef NO_CLAIM_WAIT
	:: end != 0 && i < PUBS -> i = PUBS
#else
	:: atomic { end != 0 && i < PUBS && !waiting -> /* load slots[i].claim */
		if
		:: !claim[i] || dead[i] -> i++
		:: else ->
			waiting = true;
			watched = i + 1
		fi
	   }
	:: atomic { waiting && (watched == 0 || dead[i]) -> /* it changed */
		waiting = false;
		watched = 0;
		i++
	   }
#endif
	:: atomic { i == PUBS -> i = 0 } /* nobody alive owns a hole below that tail */
#ifdef TAIL_AFTER_CLAIMS
		end = tail;
#endif
#ifndef NO_REREAD
		if
		:: atomic { CELL(drained) != FREE -> /* load_acquire of the word once more */
			end = 0;
			goto next
		   }
		:: CELL(drained) == FREE
		fi;
#endif
#ifdef HOLE_TO_TAIL
		hole = end;
#else
		hole = drained + 1;
#endif
		do
		:: atomic { hole < end && CELL(hole) == FREE -> hole++ }
		:: atomic { hole == end || CELL(hole) != FREE -> break }
		od;
		atomic { /* bury: store the tombstone */
			assert(hole == end || KIND(CELL(hole)) != PAYLOAD);
			assert(CELL(drained) == FREE);
			assert_nobodys(drained, hole);
			CELL(drained) = WORD(TOMBSTONE, 0, hole - drained, drained);
			hole = 0;
			end = 0
		}
	:: atomic { reclaimed < drained -> /* ring_reclaim up to any record boundary */
#ifdef ZERO_FROM_RECLAIMED
		from = reclaimed;
#else
		from = limit - RING; /* not `reclaimed`: a daemon may have died half-way */
#endif
		upto = reclaimed + SPAN(CELL(reclaimed));
		do
		:: upto < drained -> upto = upto + SPAN(CELL(upto))
		:: break
		od;
#ifndef ZERO_BEFORE_RECLAIMED
		reclaimed = upto /* store govern->reclaimed */
#endif
	   }
#ifdef LIMIT_BEFORE_ZERO
		limit = upto + RING;
#endif
		do
		DAEMON_DIES
		:: atomic { from < upto -> /* free memory is zero */
#ifdef ZERO_HEADERS_ONLY
			hole = SPAN(CELL(from));
			CELL(from) = FREE;
			from = from + (hole -> hole : 1);
			hole = 0
#else
			CELL(from) = FREE;
			from++
#endif
		   }
		:: atomic { from == upto ->
#ifdef ZERO_BEFORE_RECLAIMED
			reclaimed = upto;
#endif
			limit = upto + RING; /* store govern->limit, ring limit_bell */
			from = 0;
			upto = 0;
			break
		   }
		od
	DAEMON_DIES
	:: atomic { ALL_DONE -> assert(owed == 0); break }
	od
}

#ifndef NO_READER
#if defined(NO_RECLAIMED_IN_READ)
#define LAPPED false
#elif defined(RECLAIMED_PAST_END)
#define LAPPED (reclaimed > pos)
#else
#define LAPPED (reclaimed > start)
#endif
#ifdef ONE_READ
#define END_OF_LOG true
#else
#define END_OF_LOG (pos == tail)
#endif
/*
 * ring_read: copies a record, then looks whether `reclaimed` has passed its position. `bad`: the
 * copy is not what was published there. With RUNS it copies a run of records from `start` on and
 * looks once, for all of them; a run of one that takes its time does nothing less.
 *
 * With ONE_READ it forgets its position after each read and stands at any record of the ring
 * before the next: fewer states, so that the ring can be larger. What it cannot show is that a
 * reader comes to the tail. (Nothing is ever delivered from below `reclaimed`.)
 *
 * The limit only grows, so a cached value says "below" only where the current one does.
 */
active proctype reader()
{
	byte start, pos, span;
	bool bad;

	do
	::
copy:		if
		:: atomic {
#ifdef ONE_READ
			reclaimed < limit && FINISHED(CELL(reclaimed)) ->
			start = reclaimed; /* stand at any record in the ring */
			do
			:: start + SPAN(CELL(start)) < limit &&
			   FINISHED(CELL(start + SPAN(CELL(start)))) ->
				start = start + SPAN(CELL(start))
			:: break
			od;
			pos = start;
#else
#ifndef NO_LIMIT_IN_READ
			pos < limit && /* load govern->limit */
#endif
			CELL(pos) != FREE && KIND(CELL(pos)) != RESERVED ->
#endif
			/* load_acquire of the word; payload is RING_E_GARBAGE, or lapped */
			bad = AT(CELL(pos)) != pos || KIND(CELL(pos)) == PAYLOAD;
			if
			:: bad
			:: !bad && KIND(CELL(pos)) == COMMITTED -> span = SPAN(CELL(pos))
			:: else -> pos = pos + SPAN(CELL(pos))
			fi
		   }
			if
			:: atomic { span > 0 -> /* copy the record */
				bad = span == 2 && CELL(pos + 1) != WORD(PAYLOAD, 0, 0, pos + 1);
				pos = pos + span;
				span = 0
			   }
			:: span == 0
			fi
#ifndef ONE_READ
		:: LAPPED
#endif
#ifdef RUNS
		:: pos > start
#endif
		:: n_stopped == PUBS && END_OF_LOG -> break
		fi;
#ifdef RUNS
		if
		:: !bad && pos > start -> goto copy
		:: skip /* the caller's buffer is full */
		fi;
#endif
		if /* load_acquire of govern->reclaimed */
		:: atomic { LAPPED -> /* RING_E_LAPPED: from disk, then come back */
#ifndef ONE_READ
			if
			:: start = reclaimed
			:: start = drained
			fi;
#else
			start = 0;
#endif
			pos = start;
			bad = false
		   }
		:: atomic { !LAPPED -> /* deliver it */
			assert(!bad);
#ifdef ONE_READ
			pos = 0;
#endif
			start = pos
		   }
		fi
	od
}
#endif
