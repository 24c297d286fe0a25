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
 * With BATCH publishers publish records of one cell, batches (a header and two records under one
 * commit word, which the reader steps into, as record_step() says), and padding instead of what
 * they discard (claim_drop).
 *
 * With WRAP there is no END: publishers go on for ever, or stop whenever they like, and positions
 * are words that wrap after two rings, so the search is of any number of laps. Two things that 64
 * bits make impossible are kept out by ghosts: that the tail is what it was, as publishers have
 * moved it once round (`fresh`), and that `reclaimed` passes a reader once round (`lapped`). With
 * CLAIMS_WRAP the claims are counters of two bits, and the drain compares values (orphan_step);
 * otherwise it sees each change.
 *
 * RING, END, WRAP, CLAIMS_WRAP, PUBS, BATCH, NO_READER, ONE_READ, RUNS, RESTART and REUSE choose
 * what is searched. Every other name in an #ifdef puts one mistake in: the negative controls of
 * run.sh.
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
#define BATCH_HEADER 5
#define PADDING 6

#define WORD(kind, owner, span, at) ((kind) + ((owner) << 3) + ((span) << 5) + ((at) << 8))
#define KIND(w) ((w) & 7)
#define OWNER(w) (((w) >> 3) & 3)
#define SPAN(w) (((w) >> 5) & 7)
#define AT(w) ((w) >> 8)
#define CELL(pos) word[(pos) % RING]
#define FINISHED(w) (KIND(w) == COMMITTED || KIND(w) == TOMBSTONE || KIND(w) >= BATCH_HEADER)
#define COUNTS(w) (KIND(w) == COMMITTED || KIND(w) == BATCH_HEADER)
/* A record in a batch: as any record, but for the owner, a ghost. */
#define IN_BATCH 3
#define INNER(at) WORD(COMMITTED, IN_BATCH, 1, at)

/* Positions: sums and comparisons of what is never more than a ring apart. */
#ifdef WRAP
#define POSITIONS (2 * RING)
#else
#define POSITIONS 60 /* a multiple of every RING; END is far below */
#endif
#define PLUS(pos, n) (((pos) + (n)) % POSITIONS)
#define FROM_TO(a, b) (((b) + POSITIONS - (a)) % POSITIONS)
#ifdef COMPARED_BY_SIZE
#define LESS(a, b) ((a) < (b))
#define UPTO(a, b) ((a) <= (b))
#else
#define LESS(a, b) (FROM_TO(a, b) > 0 && FROM_TO(a, b) <= RING)
#define UPTO(a, b) (FROM_TO(a, b) <= RING)
#endif

short word[RING];  /* ring memory */
byte tail;         /* publish page */
#ifdef CLAIMS_WRAP
byte claim[PUBS];  /* publish page: the slot's counter, of two bits */
#define ODD(p) ((claim[p] & 1) == 1)
#else
bit claim[PUBS];   /* publish page: the parity of the slot's counter */
#define ODD(p) claim[p]
#endif
byte limit = RING; /* govern page */
byte reclaimed;    /* govern page */

bool dead[PUBS];   /* what the kernel tells the daemon, by pidfd */
byte n_stopped;    /* publishers that died or have finished */
byte drained;      /* the drain's private position */
byte watched;      /* 1 + the slot whose counter the drain compares; 0: it differs by now */

byte own[PUBS];    /* ghost */
byte owed;         /* ghost */
#ifdef WRAP
bool fresh[PUBS];  /* ghost: nobody has moved the tail since this one loaded it */
byte start;        /* of the reader's copy */
bool lapped;       /* ghost: reclaimed has passed it */
#endif
#ifdef RESTART
#ifndef WRAP
bool restarted;
#endif
byte walked;       /* ghost: how far the drain has to go until it is where it was before */
#endif

#define ALL_DONE (n_stopped == PUBS && drained == tail)
#ifdef REUSE
#define GONE skip
#else
#define GONE n_stopped++
#endif
#define DIE atomic { dead[me] = true; own[me] = 0; GONE; pos = 0; span = 0; STALE(me); break }
#ifdef NO_CLAIM
#define CLAIM_NEXT skip
#elif defined(CLAIMS_WRAP)
#define CLAIM_NEXT claim[me] = (claim[me] + 1) % 4
#else
#define CLAIM_NEXT claim[me] = !claim[me]; watched = (watched == me + 1 -> 0 : watched)
#endif

#ifdef WRAP
#define MAY_END true
#define ROOM_FOR(n) true
#define UNCHANGED fresh[me]
#define STALE(p) fresh[p] = false
#if PUBS == 1
#define ALL_STALE STALE(0)
#elif PUBS == 2
#define ALL_STALE STALE(0); STALE(1)
#else
#define ALL_STALE STALE(0); STALE(1); STALE(2)
#endif
#define MAYBE_STALE(what) (!fresh[me] || (what))
#else
#define MAY_END (pos == END)
#define ROOM_FOR(n) (pos + (n) <= END)
#define UNCHANGED (tail == pos)
#define STALE(p) skip
#define ALL_STALE skip
#define MAYBE_STALE(what) (what)
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
#ifdef WRAP
			fresh[me] = true;
#endif
			if
			:: MAY_END ->
				CLAIM_NEXT;
				n_stopped++;
				pos = 0;
				STALE(me);
				break
			:: ROOM_FOR(1) -> span = 1
#ifdef BATCH
			:: ROOM_FOR(3) -> span = 3
#else
			:: ROOM_FOR(2) -> span = 2
#endif
			fi
		   }
		:: DIE
		fi;
#ifndef NO_LIMIT_IN_RESERVE
		if
		:: MAYBE_STALE(UPTO(PLUS(pos, span), limit)) /* load govern->limit: there is room */
		:: atomic { MAYBE_STALE(!UPTO(PLUS(pos, span), limit)) -> /* RING_E_FULL */
			CLAIM_NEXT
		   }
			if
			:: atomic { MAYBE_STALE(UPTO(PLUS(pos, span), limit)) ->
				pos = 0; /* limit_bell rang; try again */
				span = 0;
				STALE(me);
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
			:: UNCHANGED ->
				assert(tail == pos);
				tail = PLUS(pos, span);
				own[me] = pos + 1;
				ALL_STALE;
				assert(UPTO(tail, limit))
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
			assert(UPTO(drained, pos));
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
		CELL(pos) = WORD((span == 3 -> BATCH_HEADER : COMMITTED), 0, span, pos);
#endif
		if
		:: atomic { span == 2 -> /* fill in the record */
			assert(CELL(pos + 1) == FREE);
			CELL(pos + 1) = WORD(PAYLOAD, 0, 0, PLUS(pos, 1))
		   }
#ifdef BATCH
		:: atomic { span == 3 -> /* fill in the records of a batch (batch_put) */
			assert(CELL(pos + 1) == FREE);
			CELL(pos + 1) = INNER(PLUS(pos, 1))
		   }
			if
			:: atomic {
				assert(CELL(pos + 2) == FREE);
				CELL(pos + 2) = INNER(PLUS(pos, 2))
			   }
			:: DIE
			fi
#endif
#ifdef CLAIM_EVEN_EARLY
		:: span == 1
#endif
		:: DIE
		fi;
commit:		if
		:: atomic { /* ring_commit: release store of the committed word */
#ifndef COMMIT_BEFORE_PAYLOAD
			assert(CELL(pos) == WORD(RESERVED, me, span, pos));
			assert(UPTO(drained, pos));
#endif
			CELL(pos) = WORD((span == 3 -> BATCH_HEADER : COMMITTED), 0, span, pos);
			own[me] = 0;
			owed++;
			pos = 0;
			span = 0
		   }
#ifdef BATCH
		:: atomic { span == 3 -> /* claim_drop */
			CELL(pos) = WORD(PADDING, 0, span, pos);
			own[me] = 0;
			pos = 0;
			span = 0
		   }
#endif
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
			UPTO(dead_tail, drained) ->
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
		assert(dead[i] || own[i] == 0 ||
		       FROM_TO(from, own[i] - 1) >= FROM_TO(from, to));
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
#ifdef WRAP
#define MAY_RESTART true /* as often as it likes */
#define RESTARTED skip
#else
#define MAY_RESTART !restarted
#define RESTARTED restarted = true
#endif
#define DAEMON_DIES \
	:: atomic { MAY_RESTART -> \
		RESTARTED; \
		walked = walked + FROM_TO(reclaimed, drained); \
		drained = reclaimed; \
		watched = 0; \
		w = 0; end = NONE; i = 0; hole = 0; waiting = false; from = 0; upto = 0; \
		goto next \
	   }
#define WALKED_BEFORE (walked > 0)
#define WALK_ON(n) walked = (walked > 0 -> walked - (n) : 0)
#else
#define DAEMON_DIES
#define WALKED_BEFORE false
#define WALK_ON(n) skip
#endif
#define NONE 255 /* no hole is suspected */

#ifdef CLAIMS_WRAP
/* `watched` is 1 + the value that was seen. */
#define WATCH(p) watched = claim[p] + 1
#if defined(CLAIMS_BY_SIZE)
#define MOVED_ON(p) (claim[p] + 1 > watched)
#else
#define MOVED_ON(p) (claim[p] + 1 != watched)
#endif
#else
#define WATCH(p) watched = (p) + 1
#define MOVED_ON(p) (watched == 0)
#endif

#ifdef WRAP
#define PASS_READER(upto) \
	lapped = lapped || (FROM_TO(reclaimed, start) < FROM_TO(reclaimed, upto))
#else
#define PASS_READER(upto) skip
#endif

/*
 * The drain's thread: the walk from its private position, the burial of what the dead left, and
 * ring_reclaim. It blocks on nobody: what cannot go on now stays as it is, and other work is done.
 */
active proctype drain()
{
	short w;         /* a reserved word seen at the drain's position */
	byte end = NONE; /* or a hole is suspected; it ends here at the latest */
	byte i, hole;
	bool waiting;    /* for slot i to be seen even or changed */
	byte upto, from; /* what is being reclaimed */

next:	do
	:: atomic { w == 0 && end == NONE &&
		/* A word at or above the limit is of the lap before: not looked at. */
#ifndef NO_LIMIT_IN_DRAIN
		LESS(drained, limit) &&
#endif
		(CELL(drained) != FREE || drained != tail) ->
		w = CELL(drained); /* load_acquire of the word */
		assert(KIND(w) != PAYLOAD);
		assert(w == FREE || AT(w) == drained);
		assert(OWNER(w) != IN_BATCH); /* a batch is one, or nothing */
		if
		:: FINISHED(w) ->
			if
			:: COUNTS(w) ->
				owed = owed - (WALKED_BEFORE -> 0 : 1);
				assert(SPAN(w) != 2 || CELL(drained + 1) ==
				       WORD(PAYLOAD, 0, 0, PLUS(drained, 1)));
				assert(SPAN(w) != 3 ||
				       (CELL(drained + 1) == INNER(PLUS(drained, 1)) &&
					CELL(drained + 2) == INNER(PLUS(drained, 2))))
			:: else
			fi;
			WALK_ON(SPAN(w));
			drained = PLUS(drained, SPAN(w));
			w = 0;
			goto next
		:: KIND(w) == RESERVED
		:: KIND(w) == FREE -> /* a hole? */
#ifdef TAIL_AFTER_CLAIMS
			end = 0
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
		assert_nobodys(drained, PLUS(drained, SPAN(w)));
#ifdef BATCH
#ifndef BURY_HEADER_ONLY
		if /* its content is wiped */
		:: SPAN(w) == 3 -> CELL(drained + 1) = FREE; CELL(drained + 2) = FREE
		:: else
		fi;
		CELL(drained) = WORD(TOMBSTONE, 0, SPAN(w), drained);
#else
		CELL(drained) = WORD(TOMBSTONE, 0, 1, drained);
#endif
#else
		CELL(drained) = WORD(TOMBSTONE, 0, SPAN(w), drained);
#endif
		w = 0
	   }
#ifdef NO_CLAIM_WAIT
	:: end != NONE && i < PUBS -> i = PUBS
#else
	:: atomic { end != NONE && i < PUBS && !waiting -> /* load slots[i].claim */
		if
		:: !ODD(i) || dead[i] -> i++
		:: else ->
			waiting = true;
			WATCH(i)
		fi
	   }
	:: atomic { waiting && (MOVED_ON(i) || dead[i]) -> /* it changed */
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
			end = NONE;
			goto next
		   }
		:: CELL(drained) == FREE
		fi;
#endif
#ifdef HOLE_TO_TAIL
		hole = end;
#else
		hole = PLUS(drained, 1);
#endif
		do
		:: atomic { hole != end && CELL(hole) == FREE -> hole = PLUS(hole, 1) }
		:: atomic { hole == end || CELL(hole) != FREE -> break }
		od;
		atomic { /* bury: store the tombstone */
			assert(hole == end || KIND(CELL(hole)) != PAYLOAD);
			assert(CELL(drained) == FREE);
			assert_nobodys(drained, hole);
			CELL(drained) = WORD(TOMBSTONE, 0, FROM_TO(drained, hole), drained);
			hole = 0;
			end = NONE
		}
	:: atomic { LESS(reclaimed, drained) -> /* ring_reclaim up to any record boundary */
#ifdef ZERO_FROM_RECLAIMED
		from = reclaimed;
#else
		from = PLUS(limit, POSITIONS - RING); /* not `reclaimed`: a daemon may have died half-way */
#endif
		upto = PLUS(reclaimed, SPAN(CELL(reclaimed)));
		do
		:: LESS(upto, drained) -> upto = PLUS(upto, SPAN(CELL(upto)))
		:: break
		od;
#ifndef ZERO_BEFORE_RECLAIMED
		PASS_READER(upto);
		reclaimed = upto /* store govern->reclaimed */
#endif
	   }
#ifdef LIMIT_BEFORE_ZERO
		limit = PLUS(upto, RING);
#endif
		do
		DAEMON_DIES
		:: atomic { LESS(from, upto) -> /* free memory is zero */
#ifdef ZERO_HEADERS_ONLY
			hole = SPAN(CELL(from));
			CELL(from) = FREE;
			from = PLUS(from, (hole -> hole : 1));
			hole = 0
#else
			CELL(from) = FREE;
			from = PLUS(from, 1)
#endif
		   }
		:: atomic { from == upto ->
#ifdef ZERO_BEFORE_RECLAIMED
			reclaimed = upto;
#endif
			limit = PLUS(upto, RING); /* store govern->limit, ring limit_bell */
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
#elif defined(WRAP)
#define LAPPED lapped
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
/* A record in a batch counts if the batch does. */
#define BEFORE(n) CELL(PLUS(pos, POSITIONS - (n)))
#ifdef INTO_PADDING
#define STEP(w) (KIND(w) >= BATCH_HEADER -> 1 : SPAN(w))
#else
#define STEP(w) (KIND(w) == BATCH_HEADER -> 1 : SPAN(w)) /* record_step */
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
#ifndef WRAP
	byte start;
#endif
	byte pos, span;
	bool bad;

	do
	::
copy:		if
		:: atomic {
#ifdef ONE_READ
			reclaimed < limit && FINISHED(CELL(reclaimed)) ->
			start = reclaimed; /* stand at any record in the ring */
			do
			:: LESS(PLUS(start, STEP(CELL(start))), limit) &&
			   FINISHED(CELL(PLUS(start, STEP(CELL(start))))) ->
				start = PLUS(start, STEP(CELL(start)))
			:: break
			od;
			pos = start;
#else
#ifndef NO_LIMIT_IN_READ
			LESS(pos, limit) && /* load govern->limit */
#endif
			CELL(pos) != FREE && KIND(CELL(pos)) != RESERVED ->
#endif
			/* load_acquire of the word; payload is RING_E_GARBAGE, or lapped */
			bad = AT(CELL(pos)) != pos || KIND(CELL(pos)) == PAYLOAD ||
			      (OWNER(CELL(pos)) == IN_BATCH && KIND(BEFORE(1)) != BATCH_HEADER &&
			       KIND(BEFORE(2)) != BATCH_HEADER);
			if
			:: bad
			:: !bad && KIND(CELL(pos)) == COMMITTED -> span = SPAN(CELL(pos))
			:: else -> pos = PLUS(pos, STEP(CELL(pos)))
			fi
		   }
			if
			:: atomic { span > 0 -> /* copy the record */
				bad = span == 2 &&
				      CELL(pos + 1) != WORD(PAYLOAD, 0, 0, PLUS(pos, 1));
				pos = PLUS(pos, span);
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
#ifdef WRAP
			lapped = false;
#endif
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
