/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing a ring in favour of a successor while publishers are stopped anywhere
 * (ring_close_tail, ring_set_succeeded, orphan_hole_len, the decisions in
 * daemon/shard_succeed.c; ring_commit and ring_read on the other side). A stopped publisher is
 * one that makes no step for a while; none of them can be waited for.
 *
 * Loads and stores are single steps in some order of all, but for the one that matters: the store
 * of the committed word may stay in its publisher's store buffer, behind the loads that follow
 * it, until the processor pleases or a membarrier passes.
 *
 * Cells, positions and words are as in ring.pml; neither ring wraps here. The tail of the old
 * ring is `tail` and `closed` together, one word.
 *
 * What is asserted, besides the absence of deadlock:
 *   - a publisher that was told "published" has its record in the log, and one that was told
 *     "not published" has not;
 *   - a reader, wherever it crosses from the old ring to the new, has at the end delivered
 *     exactly the records of the log, once and whole, and never stands inside of a record.
 *
 * LEN, PUBS and COMMIT_WITH_FENCE (where there is no membarrier) choose what is searched. Every
 * other name in an #ifdef puts one mistake in: the negative controls of run.sh.
 */
#ifndef LEN
#define LEN 4 /* cells, of both rings */
#endif
#ifndef PUBS
#define PUBS 3
#endif

#define FREE 0
#define RESERVED 1
#define COMMITTED 2
#define TOMBSTONE 3
#define PAYLOAD 4

#define WORD(kind, owner, span) ((kind) + ((owner) << 3) + ((span) << 5))
#define KIND(w) ((w) & 7)
#define OWNER(w) (((w) >> 3) & 3)
#define SPAN(w) ((w) >> 5)

byte old[LEN];      /* ring memory of the ring that is closed */
byte new[LEN];      /* of its successor, by the same positions */
byte tail;
bool closed;        /* LAYOUT_TAIL_CLOSED */
byte close_pos;     /* govern page of the old ring, as the next two */
bool succeeded;     /* state is GOVERN_SUCCEEDED, not GOVERN_OPEN */
bool attention;     /* GOVERN_CLOSED */
bool opened;        /* state of the new ring is GOVERN_OPEN */

byte buffered[PUBS];    /* store buffer: the committed word, 0 = empty */
byte buffered_at[PUBS]; /* and its position */

#define UNTOLD 0
#define PUBLISHED 1
#define NOT_PUBLISHED 2
byte told[PUBS];    /* ghost: what ring_commit and what follows it have said */
bool logged[PUBS];  /* ghost: its record is in the log */
byte drained;       /* where the drain's walk stands */
byte final = 255;   /* ghost: the tail when it was closed */

inline tell(what)
{
	told[me] = what;
	assert(!opened || logged[me] == (what == PUBLISHED))
}

inline flush(p)
{
	if
	:: buffered[p] ->
		old[buffered_at[p]] = buffered[p];
		buffered[p] = 0;
		buffered_at[p] = 0
	:: else
	fi
}

active [PUBS] proctype publisher()
{
	byte me = _pid, pos, span;

	atomic { /* ring_reserve: CAS of publish->tail; ring.pml takes it apart */
		if
		:: closed || tail == LEN -> goto out /* goes to the successor */
		:: else
		fi;
		pos = tail;
		if
		:: span = 1
		:: pos + 1 < LEN -> span = 2
		fi;
		tail = pos + span
	}
	old[pos] = WORD(RESERVED, me, span); /* store the reserved word */
	atomic {
		if
		:: span == 1 -> goto commit
		:: else -> old[pos + 1] = WORD(PAYLOAD, me, 0) /* fill in the record */
		fi
	}
commit:
#ifdef ATTENTION_BEFORE_COMMIT
	atomic {
		if
		:: !attention -> span = span + 4
		:: else
		fi
	}
#endif
	atomic { /* ring_commit: store of the committed word, into the store buffer */
		buffered[me] = WORD(COMMITTED, me, span & 3);
		buffered_at[me] = pos
	}
#ifdef COMMIT_WITH_FENCE
	buffered[me] == 0; /* fence_full() */
#endif
	atomic { /* load govern->attention */
		if
#ifdef ATTENTION_BEFORE_COMMIT
		:: span > 2 ->
#elif defined(NO_ATTENTION)
		:: true ->
#else
		:: !attention ->
#endif
			tell(PUBLISHED);
			goto out
		:: else
		fi
	}
	/* RING_E_CLOSED: did the record count? */
	atomic {
		if
		:: !succeeded || pos < close_pos ->
			tell(PUBLISHED);
			goto out
		:: else
		fi
	}
	atomic { opened -> /* ring_word_at() of the successor */
		if
		:: new[pos] == WORD(COMMITTED, me, span) -> tell(PUBLISHED)
		:: else -> tell(NOT_PUBLISHED)
		fi
	}
out:	skip
}

/* Store buffers empty themselves sooner or later. */
active proctype processors()
{
end:	do
	:: atomic { buffered[0] -> flush(0) }
	:: atomic { buffered[1] -> flush(1) }
#if PUBS > 2
	:: atomic { buffered[2] -> flush(2) }
#endif
	od
}

active proctype drain()
{
	byte at, hole, lowest, i;
	bool restarted;

	do
	:: atomic { drained < tail && KIND(old[drained]) == COMMITTED ->
		logged[OWNER(old[drained])] = true;
		drained = drained + SPAN(old[drained])
	   }
	:: atomic { !closed -> /* ring_close_tail */
		closed = true;
		final = tail
	   }
	:: closed -> break /* all is resolved, or the claim time-out has passed */
	od;
	/* ring_set_succeeded */
#ifdef STATE_BEFORE_CLOSE_POS
	succeeded = true;
#endif
	close_pos = drained;
#ifndef STATE_BEFORE_CLOSE_POS
	succeeded = true;
#endif
#ifndef BARRIER_BEFORE_ATTENTION
	attention = true;
#endif
#ifndef NO_MEMBARRIER
	do
	:: atomic { i < PUBS -> flush(i); i++ } /* membarrier: one processor after the other */
	:: atomic { i == PUBS -> i = 0; break }
	od;
#endif
#ifdef BARRIER_BEFORE_ATTENTION
	attention = true;
#endif

	/* What lies between close_pos and the final tail: to be copied or buried, once for all. */
decide:	at = drained;
	do
	:: at < final ->
		if
		:: atomic { KIND(old[at]) == COMMITTED -> /* load_acquire of the word */
			logged[OWNER(old[at])] = true;
			new[at] = old[at];
			if
			:: SPAN(old[at]) == 2 -> new[at + 1] = old[at + 1]
			:: else
			fi;
			at = at + SPAN(old[at])
		   }
		:: atomic { KIND(old[at]) == RESERVED ->
			new[at] = WORD(TOMBSTONE, 0, SPAN(old[at]));
			at = at + SPAN(old[at])
		   }
		:: atomic { KIND(old[at]) == PAYLOAD -> /* garbage: all that follows is lost */
			new[at] = WORD(TOMBSTONE, 0, final - at);
			at = final
		   }
		:: old[at] == FREE -> /* orphan_hole_len */
			hole = at + 1;
			do
			:: atomic { hole < final && old[hole] == FREE -> hole++ }
			:: atomic { hole == final || old[hole] != FREE -> break }
			od;
			/*
			 * Whoever owns a part of the hole may wake up now: it stores its word, then
			 * its content, and what has ended the hole may be content. Looking
			 * backwards, the word of whatever content has been seen is seen too: the
			 * lowest cell that is not zero is a word.
			 */
			lowest = hole;
#if defined(RECHECK_FIRST_ONLY)
			lowest = (old[at] != FREE -> at : hole);
#elif defined(RECHECK_FORWARDS)
			lowest = at;
			do
			:: atomic { lowest < hole && old[lowest] == FREE -> lowest++ }
			:: atomic { lowest == hole || old[lowest] != FREE -> break }
			od;
#elif !defined(NO_RECHECK)
			do
			:: atomic { hole > at ->
				hole--;
				lowest = (old[hole] != FREE -> hole : lowest)
			   }
			:: atomic { hole == at -> break }
			od;
#endif
			atomic {
				hole = 0;
				if
				:: lowest > at ->
					new[at] = WORD(TOMBSTONE, 0, lowest - at);
					at = lowest
				:: else /* its owner woke up: look at the word again */
				fi;
				lowest = 0
			}
		fi
	:: else -> break
	od;
	if
	:: atomic { !restarted -> /* the daemon dies, its successor decides again */
		restarted = true;
		at = 0;
		do
		:: at < LEN ->
			if
			:: KIND(new[at]) == COMMITTED -> logged[OWNER(new[at])] = false
			:: else
			fi;
			new[at] = FREE;
			at++
		:: else -> break
		od;
		at = 0;
		goto decide
	   }
	:: skip
	fi;
	atomic {
		opened = true; /* ring_set_state of the new ring */
		at = 0;
		i = 0;
		do
		:: i < PUBS ->
			assert(told[i] != PUBLISHED || logged[i]);
			assert(told[i] != NOT_PUBLISHED);
			i++
		:: else -> break
		od
	}
}

#define ENDED (succeeded && pos >= close_pos)

/* ring_read of a subscriber that begins at 0, through both rings. */
active proctype reader()
{
	byte pos, w, i;
	bool got[PUBS], late;

	do
#ifdef STATE_BEFORE_COPY
	:: atomic { late = ENDED; w = 0 }
		atomic {
			if
			:: late -> break
			:: !late && pos < LEN && KIND(old[pos]) == COMMITTED -> w = old[pos]
			:: else -> goto next
			fi;
#else
	:: atomic { pos < LEN && KIND(old[pos]) == COMMITTED ->
		w = old[pos] /* load_acquire of the word, copy */
	   }
		atomic {
#ifndef TRUST_OLD_RING
			if
			:: ENDED -> /* load_acquire of the state, after the copy */
				w = 0;
				break
			:: else
			fi;
#endif
#endif
			assert(KIND(w) == COMMITTED && !got[OWNER(w)]);
			assert(SPAN(w) == 1 || old[pos + 1] == WORD(PAYLOAD, OWNER(w), 0));
			got[OWNER(w)] = true;
			pos = pos + SPAN(w);
			w = 0
		}
next:		skip
	:: ENDED -> break /* RING_E_CLOSED */
	od;
	opened;
	atomic { /* the new ring does not change any more */
		w = 0;
		do
		:: pos < final ->
			w = new[pos];
			assert(KIND(w) == TOMBSTONE || KIND(w) == COMMITTED);
			if
			:: KIND(w) == COMMITTED ->
				assert(!got[OWNER(w)]);
				assert(SPAN(w) == 1 || new[pos + 1] == WORD(PAYLOAD, OWNER(w), 0));
				got[OWNER(w)] = true
			:: else
			fi;
			pos = pos + SPAN(w)
		:: else -> break
		od;
		assert(pos == final);
		do
		:: i < PUBS ->
			assert(got[i] == logged[i]);
			i++
		:: else -> break
		od
	}
}
