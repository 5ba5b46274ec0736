/*
 * The cut, as docs/cut-protocol.md tells it and as it is built for one host: VMs on a LAN, the switch between them, the agent with its
 * participant, two attempts at a cut (the second may begin while much of a void first one is still under way), workers that die, are
 * slow, or try again. README.md says what is which code, what is left out, and what -D names a deliberate defect.
 *
 * All state is global and every step is one d_step, so that whatever can happen between two steps of one process does happen.
 */
#ifndef VMS
#define VMS 3
#endif
#ifndef FRAMES
#define FRAMES 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif

#define BIT(x)      (1 << (x))
#define ALL         (BIT(VMS) - 1)
#define HAS(m, x)   (((m) >> (x)) & 1)
#define K(a)        (k0[a])

/* With -DREACH=NAME a search must end in the place of that name: what is never reached is never checked. */
#define SECOND_COMMIT 1
#define RECORDED 2
#define RECEIVED 3
#define PUT_BACK 5
#define HELD 6
#ifdef REACH
#define REACHED(name, when) assert(REACH != name || !(when));
#else
#define REACHED(name, when)
#endif

/* ---- frames. Each has a place; a tracked frame stands for any frame, see README.md */
#define UNSENT 0
#define OUT    1   /* sent by the guest, not read by the switch */
#define FLY    2   /* read, coloured, in flight on a link with latency */
#define QUEUE  3   /* in the queue of the port that it is for: gated, held, put back, or just waiting */
#define SOCK   4   /* written to the VM's socket */
#define QEMU   5   /* read by QEMU, not yet in the guest's ring */
#define PURGED 6   /* was in QEMU when the VM was stopped: the switch has a copy, nobody else has */
#define GOT    7
#define LOST   8   /* with a switch that died, as on a pulled cable */
byte loc[FRAMES];
byte col[FRAMES];      /* colour: the epoch of its sender when it was read */
byte src[FRAMES];
byte dst[FRAMES];
bool zeroFirst = true; /* where both are in one place: frame 0 came there first */
byte gotOrder;         /* how many frames of one channel came in the wrong order */

/* ---- VMs */
byte runs = ALL;        /* masks of VMs */
byte ended;

/* ---- switch: overlay/slice-net.ts, switch.ts */
byte pe[VMS] = 1;      /* epoch of each port */
byte gate;
byte open;             /* attempt whose cut is open here, plus one */
byte prepared = 1;     /* highest prepared epoch, on disk */
byte vcut[2];          /* verdicts, once for each VM and attempt */
byte vfwd[2];
bool logOpen[2];
byte rec[2];           /* frames that are recorded, and recorded twice */
byte recTwice[2];
bool recZeroFirst[2];
bool excused;          /* a process died, or a step failed, where a frame had no other place: see README.md */

/* ---- agent: hosts/participants.ts, snapshots/participant.ts, hosts/cut-host.ts, cut-vm.ts */
#define NONE 0
#define PREPARING 1
#define PREPARED 2
#define CUTTING 3
#define SAVED 4
#define SEALING 5
#define SEALED 6
#define ENDING 7
#define DONE 8
#define VOIDING 9
#define VOID 10
byte ph[2];
bool toldAbort[2];
byte hostK = 1;
byte hostToken;
byte uPrepare[2];      /* works under way: their next step */
bool uCut[2];
bool uSeal[2];
byte uVoid[2];
bool uEnd[2];
byte cs[6];            /* where the cut of each VM is, by attempt: the steps of Cut; 7 well, 9 failed */
bool news[2];          /* that the switch went forward is on its way to the agent */
bool isVoid[2];
byte stood[2];         /* VMs that have stood since they were stopped for this attempt */
byte txSince[2];       /* VMs that have sent since */
bool made[2];          /* overlay and memory file */
bool part[2];
byte img[2];           /* VMs with an image, and what the images hold of each frame */
byte imgSent[2];
byte imgGot[2];

/* ---- coordinators: snapshots/coordinator.ts, take.ts, open.ts */
#define IDLE 0
#define C_PREPARING 1
#define C_CUTTING 2
#define C_SEALING 3
#define WANT_COMMIT 4
#define WANT_ABORT 5
#define TELLING 6
#define OVER 7
#define DEAD 8
byte cph[2];
byte k0[2];
byte token[2];
byte asks[2];          /* in flight: prepare 1, cut 2, seal 4, tell 8 */
byte reps[2];          /* in flight: prepared 1, cut 2, sealed 4, told 8, refused 16 */
byte outcome[2];       /* 0 none, 1 commit, 2 abort */
bool written[2];       /* was one ever written */
byte gone[2];          /* the folder: 0 there, 1 without outcome, 2 gone */
byte faults = FAULTS;
byte i, t;             /* only used inside of a d_step, and zero after it */

#define IS_OVER(a)  (ph[a] == NONE || ph[a] == DONE || ph[a] == VOID)
#define STAGE(a, v) cs[(a) * VMS + (v)]
#define ANY_IN(a, s) (STAGE(a, 0) == s || STAGE(a, VMS / 2) == s || STAGE(a, VMS - 1) == s)
#ifdef FORWARD_IN_WINDOW
#define NO_WINDOW(a) true
#else
#define NO_WINDOW(a) (!ANY_IN(a, 3) && !ANY_IN(a, 4) && !ANY_IN(a, 8))
#endif

/* Frames have places in order: what came first to a place leaves it first. */
#if FRAMES == 2
#define FIRST(f)       (f == 0 && zeroFirst || f == 1 && !zeroFirst)
#define BOTH(p)        (loc[0] == p && loc[1] == p)
#define MAY(f, same)   (!(BOTH(loc[f]) && (same)) || FIRST(f))
#define MOVE(f, to)    loc[f] = to; zeroFirst = (loc[1 - f] != to || f == 1)
#define SAME_SRC       (src[0] == src[1])
#define SAME_DST       (dst[0] == dst[1])
#define SAME_CHANNEL   (SAME_SRC && SAME_DST)
#else
#define MAY(f, same)   true
#define MOVE(f, to)    loc[f] = to
#define SAME_SRC       true
#define SAME_DST       true
#define SAME_CHANNEL   true
#endif

#ifdef NO_HOLD
#define MUST_HOLD(f)   false
#else
#define MUST_HOLD(f)   (col[f] > pe[dst[f]])
#endif
/* The queue of a port is looked through from its head; what is held is passed by. */
#if FRAMES == 2
#define AT_HEAD(f)     (!(BOTH(QUEUE) && SAME_DST) || FIRST(f) || MUST_HOLD(1 - f))
#else
#define AT_HEAD(f)     true
#endif

inline record(a, f) {
  if
  :: HAS(rec[a], f) -> recTwice[a] = recTwice[a] | BIT(f)
  :: else -> rec[a] = rec[a] | BIT(f); recZeroFirst[a] = (f == 0 && !HAS(rec[a], 1)) || (f == 1 && HAS(rec[a], 0))
  fi
}

proctype Frame(byte f) {
end:
  do
  :: d_step { loc[f] == UNSENT && HAS(runs, src[f]) && (f == 0 || !SAME_CHANNEL || loc[0] != UNSENT) ->
       MOVE(f, OUT);
       if :: STAGE(0, src[f]) == 4 -> txSince[0] = txSince[0] | BIT(src[f]) :: else fi;
       if :: STAGE(1, src[f]) == 4 -> txSince[1] = txSince[1] | BIT(src[f]) :: else fi }
  :: d_step { loc[f] == OUT && MAY(f, SAME_SRC) -> col[f] = pe[src[f]];
#ifdef SHAPED
       MOVE(f, FLY); }
  :: d_step { loc[f] == FLY && MAY(f, SAME_CHANNEL) ->
#endif
       MOVE(f, QUEUE); }
  :: d_step { loc[f] == QUEUE && !HAS(gate, dst[f]) && !MUST_HOLD(f) && AT_HEAD(f) ->
#ifndef NO_RECORD
       i = 0;
       do
       :: i < 2 ->
            if :: logOpen[i] && col[f] < K(i) && K(i) <= pe[dst[f]] -> record(i, f) :: else fi;
            i++
       :: else -> break
       od;
       i = 0;
#endif
       MOVE(f, SOCK); }
  :: d_step { loc[f] == SOCK && MAY(f, SAME_DST) -> MOVE(f, QEMU); }
  :: d_step { loc[f] == QEMU && HAS(runs, dst[f]) && MAY(f, SAME_DST) ->
#if FRAMES == 2
       if :: f == 1 && SAME_CHANNEL && loc[0] != GOT && loc[0] != LOST && loc[0] != PURGED -> gotOrder++ :: else fi;
#endif
       loc[f] = GOT; col[f] = 0 }
  od
}

/* ---- what the agent makes of what it hears */

/* An answer that nobody waits for any more is none. */
#ifdef LATE_ACCEPTED
#define ANSWER(a, r) reps[a] = reps[a] | r
#else
#define ANSWER(a, r) reps[a] = (cph[a] == OVER || cph[a] == DEAD || cph[a] == WANT_COMMIT || cph[a] == WANT_ABORT -> 0 : reps[a] | r)
#endif
/* What was noted for an attempt that is over is of no use: states do not differ by it. */
inline forget(a) {
#ifndef VOID_BESIDE_CUT
  vcut[a] = 0; vfwd[a] = 0; isVoid[a] = false;
#endif
  img[a] = 0; imgSent[a] = 0; imgGot[a] = 0; rec[a] = 0; recTwice[a] = 0; recZeroFirst[a] = false; stood[a] = 0; txSince[a] = 0; toldAbort[a] = false
}

inline voided(a) { ph[a] = VOIDING; uVoid[a] = 1;
#ifndef VOID_BESIDE_CUT
  isVoid[a] = true
#endif
}
inline failed(a, in) {     /* a work has failed: what is not in that phase any more is told nothing */
  if :: ph[a] == in -> ANSWER(a, 16); voided(a) :: else fi
}
inline forwarded(a) {
  if
  :: ph[a] >= PREPARING && ph[a] <= SAVED -> if :: ph[a] == PREPARING || ph[a] == CUTTING -> ANSWER(a, 16) :: else fi; voided(a)
  :: else
  fi
}

/* ---- the switch */

inline forward(a) {       /* SliceNet.forward, Switch.goForward: every port to k, or to the highest epoch that waits */
#ifndef NO_EPOCH_STEP_AT_ABORT
  t = K(a);
  i = 0;
  do
  :: i < FRAMES ->
       if :: (loc[i] == QUEUE || loc[i] == FLY) && col[i] > t -> t = col[i] :: else fi;
       i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < VMS ->
       if :: pe[i] < t -> pe[i] = t :: else fi;
       i++
  :: else -> break
  od;
  if :: K(0) <= t -> logOpen[0] = false :: else fi;
  if :: K(1) <= t -> logOpen[1] = false :: else fi;
  i = 0; t = 0;
#else
  logOpen[a] = false;
#endif
  vfwd[a] = vfwd[a] | (ALL & ~vcut[a]);
  gate = 0;
  open = 0
}

inline maxEpoch() {
  t = prepared;
  i = 0;
  do
  :: i < VMS ->
       if :: pe[i] > t -> t = pe[i] :: else fi;
       i++
  :: else -> break
  od;
  i = 0
}

inline switchPrepare(a) {  /* Switch.prepare: refused when the epoch was prepared before */
  maxEpoch();
  if
#ifndef EPOCH_AGAIN
  :: K(a) <= t && open != a + 1 -> uPrepare[a] = 0; failed(a, PREPARING)
#endif
  :: else ->
       prepared = K(a);
       i = 0;
       do
       :: i < VMS ->
            if :: pe[i] < K(a) - 1 -> pe[i] = K(a) - 1 :: else fi;
            i++
       :: else -> break
       od;
       if :: K(0) < K(a) -> logOpen[0] = false :: else fi;
       logOpen[a] = true;
       open = a + 1;
       uPrepare[a] = 0;
       if :: ph[a] == PREPARING -> ph[a] = PREPARED; ANSWER(a, 1) :: else fi
  fi;
  i = 0; t = 0
}

#ifdef FLIGHTS_FORGOTTEN
#define WAITS(f) (loc[f] == QUEUE)
#else
#define WAITS(f) (loc[f] == QUEUE || loc[f] == FLY)
#endif

inline closeLog(a) {       /* SliceNet.closeLog: what waits or flies is copied */
  i = 0;
  do
  :: i < FRAMES ->
#if FRAMES == 2
       t = (i == 0 -> (zeroFirst -> 0 : 1) : (zeroFirst -> 1 : 0));   /* in the order of the queue */
#else
       t = i;
#endif
#ifndef NO_COPY
       if
       :: WAITS(t) && col[t] < K(a) && K(a) <= pe[dst[t]] && logOpen[a] -> record(a, t)
       :: else
       fi;
#endif
       i++
  :: else -> break
  od;
  i = 0; t = 0;
#ifndef RECORD_TWICE
  logOpen[a] = false;
#endif
  open = 0
}

proctype Switch() {
end:
  do
  /* the hold timer, or half a queue full: at any moment, but not while a VM that has drained is being stopped and flipped */
  :: d_step { open == 1 && NO_WINDOW(0) -> forward(0); news[0] = !IS_OVER(0) }
  :: d_step { open == 2 && NO_WINDOW(1) -> forward(1); news[1] = !IS_OVER(1) }
#ifdef SWITCH_DIES
  :: d_step { faults > 0 && (cph[0] != OVER || ATTEMPTS == 2) -> faults--; excused = true;
       i = 0;
       do
       :: i < FRAMES ->
            if :: loc[i] == QUEUE || loc[i] == FLY || loc[i] == OUT -> loc[i] = LOST :: else fi;
            i++
       :: else -> break
       od;
       maxEpoch(); t = prepared;
       i = 0;
       do
       :: i < VMS -> pe[i] = (pe[i] > t -> pe[i] : t); i++
       :: else -> break
       od;
       i = 0; t = 0;
       open = 0; gate = 0; vcut[0] = 0; vcut[1] = 0; vfwd[0] = 0; vfwd[1] = 0; logOpen[0] = false; logOpen[1] = false }
#endif
  od
}

/* ---- the agent */

inline obey(a) {           /* tell: the outcome is known at this host */
  if
  :: outcome[a] == 1 && gone[a] == 0 && ph[a] == SEALED -> ph[a] = ENDING; uEnd[a] = true
  :: !(outcome[a] == 1 && gone[a] == 0) && (ph[a] == VOID || ph[a] == NONE) -> ph[a] = VOID; ANSWER(a, 8)
  :: !(outcome[a] == 1 && gone[a] == 0) && ph[a] == VOIDING -> toldAbort[a] = true
  :: !(outcome[a] == 1 && gone[a] == 0) && ph[a] != DONE && ph[a] != ENDING && ph[a] != VOID && ph[a] != NONE && ph[a] != VOIDING -> toldAbort[a] = true; voided(a)
  :: ph[a] == DONE -> ANSWER(a, 8)
  :: else
  fi
}
inline admit(a) {          /* Participants.admit: an earlier cut is ended first */
  if
  :: a == 1 && !IS_OVER(0) && ph[0] != SEALED && ph[0] != ENDING -> forwarded(0)
  :: a == 1 && ph[0] == SEALED && outcome[0] != 0 -> obey(0)
  :: a == 1 && ph[0] == SEALED && outcome[0] == 0 -> asks[1] = asks[1] & ~1; ANSWER(1, 16)
  :: else
  fi;
  if
  :: !HAS(asks[a], 0) || (a == 1 && !IS_OVER(0))            /* refused, or it waits */
#ifndef EPOCH_AGAIN
  :: HAS(asks[a], 0) && !(a == 1 && !IS_OVER(0)) && K(a) <= hostK -> asks[a] = asks[a] & ~1; ANSWER(a, 16)
#endif
  :: else ->
       asks[a] = asks[a] & ~1;
       hostK = (K(a) > hostK -> K(a) : hostK);
       hostToken = token[a];
       ph[a] = PREPARING;
       uPrepare[a] = 1
  fi
}

#ifdef VOID_BESIDE_CUT
#define BEGUN_HAS_ENDED(a)  true
#else
#define BEGUN_HAS_ENDED(a)  (!uCut[a] && uPrepare[a] == 0)
#endif
#ifdef VOID_IN_WINDOW
#define NOBODY_IN_WINDOW(a) true
#else
#define NOBODY_IN_WINDOW(a) (!ANY_IN(a, 4) && !ANY_IN(a, 8))
#endif
#ifdef EXPIRES_WHEN_SEALED
#define EXPIRES(a)          (ph[a] == PREPARED || ph[a] == SAVED || ph[a] == SEALED)
#else
#define EXPIRES(a)          (ph[a] == PREPARED || ph[a] == SAVED)
#endif
#define STALE(a) (token[a] < hostToken)
#define REFUSE(a, ask) asks[a] = asks[a] & ~(ask); ANSWER(a, 16)

inline letRun(a) {
  stood[0] = stood[0] & runs; stood[1] = stood[1] & runs;
#ifndef NO_RUN_AT_VOID
  runs = ALL & ~ended
#endif
}

proctype Participant(byte a) {
end:
  do
  :: d_step { HAS(asks[a], 0) && ph[a] == NONE && (a == 0 || IS_OVER(0) || ph[0] == SEALED || !isVoid[0] && ph[0] != ENDING) ->
       if :: STALE(a) -> REFUSE(a, 1) :: else -> admit(a) fi }
  :: d_step { HAS(asks[a], 0) && ph[a] != NONE -> asks[a] = asks[a] & ~1;
       if :: ph[a] == PREPARING :: ph[a] == PREPARED -> ANSWER(a, 1) :: else -> ANSWER(a, 16) fi }
  :: d_step { HAS(asks[a], 1) ->
       if
       :: STALE(a) || ph[a] != PREPARED && ph[a] != CUTTING -> REFUSE(a, 2)
       :: else -> asks[a] = asks[a] & ~2;
            if
            :: ph[a] == PREPARED -> ph[a] = CUTTING; uCut[a] = true;
                 i = 0;
                 do :: i < VMS -> STAGE(a, i) = 1; i++ :: else -> break od;
                 i = 0
            :: else
            fi
       fi }
  :: d_step { HAS(asks[a], 2) ->
       if
       :: STALE(a) || ph[a] != SAVED && ph[a] != SEALING -> REFUSE(a, 4)
       :: else -> asks[a] = asks[a] & ~4; if :: ph[a] == SAVED -> ph[a] = SEALING; uSeal[a] = true :: else fi
       fi }
  :: d_step { HAS(asks[a], 3) -> if :: STALE(a) -> REFUSE(a, 8) :: else -> asks[a] = asks[a] & ~8; obey(a) fi }
  :: d_step { news[a] -> news[a] = false; forwarded(a) }
  /* time limits, and what a sealed host finds out by itself */
  :: d_step { EXPIRES(a) -> voided(a) }
  :: d_step { ph[a] == SEALED && (outcome[a] != 0 && gone[a] == 0 || gone[a] == 2) -> obey(a) }
  /* works */
  :: d_step { uPrepare[a] == 1 -> made[a] = true; uPrepare[a] = 2 }
  :: d_step { uPrepare[a] == 2 -> switchPrepare(a) }
  :: d_step { uCut[a] && STAGE(a, 0) >= 7 && STAGE(a, VMS - 1) >= 7 && STAGE(a, VMS / 2) >= 7 -> uCut[a] = false;
       if
       :: open == a + 1 && vcut[a] == ALL && STAGE(a, 0) == 7 && STAGE(a, VMS - 1) == 7 && STAGE(a, VMS / 2) == 7 ->
            closeLog(a);
            if :: ph[a] == CUTTING -> ph[a] = SAVED; ANSWER(a, 2) :: else fi
       :: else -> failed(a, CUTTING)
       fi;
       i = 0;
       do :: i < VMS -> STAGE(a, i) = 0; i++ :: else -> break od;
       i = 0 }
  :: d_step { uSeal[a] -> uSeal[a] = false; if :: ph[a] == SEALING -> part[a] = true; ph[a] = SEALED; ANSWER(a, 4) :: else fi }
  :: d_step { uEnd[a] -> uEnd[a] = false; ph[a] = DONE; ANSWER(a, 8);
#ifdef SUSPEND
       ended = ALL; runs = 0; gate = 0
#endif
     }
  :: d_step { uVoid[a] == 1 && NOBODY_IN_WINDOW(a) -> letRun(a); uVoid[a] = 2 }
  :: d_step { uVoid[a] == 2 -> forward(a); uVoid[a] = 3 }
  :: d_step { uVoid[a] == 3 && BEGUN_HAS_ENDED(a) ->
#ifndef VOID_BESIDE_CUT
       letRun(a);
#endif
       made[a] = false; part[a] = false; uVoid[a] = 0; ph[a] = VOID;
       if :: toldAbort[a] -> ANSWER(a, 8) :: else fi;
       news[a] = false;         /* an attempt that is over hears nothing */
       forget(a) }
  od
}

inline restarted(a) {      /* stepParticipant, event restarted */
  uPrepare[a] = 0; uCut[a] = false; uSeal[a] = false; uVoid[a] = 0; uEnd[a] = false; isVoid[a] = false; toldAbort[a] = false; news[a] = false;
  asks[a] = 0;             /* whoever was asking hears that the host is lost, or nothing */
  i = 0;
  do :: i < VMS -> STAGE(a, i) = 0; i++ :: else -> break od;
  i = 0;
  if
  :: ph[a] == ENDING -> uEnd[a] = true
#ifdef CUTS_AGAIN_AFTER_RESTART
  :: ph[a] == CUTTING -> uCut[a] = true; i = 0; do :: i < VMS -> STAGE(a, i) = 3; i++ :: else -> break od; i = 0
  :: ph[a] == PREPARING || ph[a] == PREPARED || ph[a] == SAVED || ph[a] == SEALING || ph[a] == VOIDING -> voided(a)
#else
#ifndef NO_VOID_AT_RESTART
  :: ph[a] == PREPARING || ph[a] == PREPARED || ph[a] == CUTTING || ph[a] == SAVED || ph[a] == SEALING || ph[a] == VOIDING -> voided(a)
#endif
#endif
  :: else
  fi
}

proctype Agent() {
end:
  do
  :: d_step { faults > 0 && (ph[0] != NONE && ph[0] != VOID && ph[0] != DONE || ph[1] != NONE && ph[1] != VOID && ph[1] != DONE) ->
       faults--;
       if :: ANY_IN(0, 4) || ANY_IN(1, 4) -> excused = true :: else fi;
       restarted(0); restarted(1);
#ifndef CUTS_AGAIN_AFTER_RESTART
#ifdef SUSPEND
       if :: ph[0] == SEALED || ph[0] == ENDING || ph[1] == SEALED || ph[1] == ENDING :: else -> letRun(0) fi
#else
       letRun(0)
#endif
#endif
     }
  od
}

/* ---- the cut of one VM: hosts/cut-vm.ts, step for step */

#define DRAINED(v) (!(loc[0] == SOCK && dst[0] == v) && !(loc[FRAMES - 1] == SOCK && dst[FRAMES - 1] == v))
#define EMPTIED(v) (!(loc[0] == OUT && src[0] == v) && !(loc[FRAMES - 1] == OUT && src[FRAMES - 1] == v))

inline purge(v) {
  i = 0;
  do
  :: i < FRAMES ->
       if :: loc[i] == QEMU && dst[i] == v -> loc[i] = PURGED :: else fi;
       i++
  :: else -> break
  od;
  i = 0
}
inline putBack(v) {        /* SliceNet.latch, Port.putBack: to the head of the queue, in the order in which they were written */
  i = 0;
  do
  :: i < FRAMES ->
       assert(!(loc[i] == SOCK && dst[i] == v));  /* it would come twice */
       if
       :: loc[i] == PURGED && dst[i] == v -> loc[i] = QUEUE;
            REACHED(PUT_BACK, true)
#if FRAMES == 2
            if :: loc[1 - i] == QUEUE && !(i == 1 && SAME_CHANNEL) -> zeroFirst = (i == 0) :: else fi
#endif
       :: else
       fi;
       i++
  :: else -> break
  od;
  i = 0
}
inline image(a, v) {
  img[a] = img[a] | BIT(v);
  i = 0;
  do
  :: i < FRAMES ->
       if :: src[i] == v && loc[i] != UNSENT -> imgSent[a] = imgSent[a] | BIT(i) :: else fi;
       if :: dst[i] == v && loc[i] == GOT -> imgGot[a] = imgGot[a] | BIT(i) :: else fi;
       i++
  :: else -> break
  od;
  i = 0
}
inline flip(a, v) {
  if
#ifdef LATE_FLIP
  :: true ->
#else
  :: open == a + 1 && !HAS(vcut[a] | vfwd[a], v) ->
#endif
#ifndef NO_PUT_BACK
       if :: HAS(txSince[a], v) :: else -> putBack(v) fi;
#endif
       vcut[a] = vcut[a] | BIT(v);
       assert(pe[v] < K(a));                      /* epochs only grow */
       pe[v] = K(a);
       STAGE(a, v) = 5
  :: else -> STAGE(a, v) = 9
  fi
}
inline stopVm(a, v) {
  if
  :: isVoid[a] || !HAS(runs, v) -> STAGE(a, v) = 9
  :: else ->
       runs = runs & ~BIT(v);
       purge(v);
       stood[a] = stood[a] | BIT(v);
       txSince[a] = txSince[a] & ~BIT(v);
       STAGE(a, v) = 4
  fi
}

proctype Cut(byte a, v) {
end:
  do
  :: d_step { STAGE(a, v) == 1 ->
       if
       :: open == a + 1 ->
#ifndef NO_GATE
            gate = gate | BIT(v);
#endif
            STAGE(a, v) = 2
       :: else -> STAGE(a, v) = 9
       fi }
#ifdef NO_DRAIN
  :: d_step { STAGE(a, v) == 2 -> STAGE(a, v) = (open == a + 1 -> 3 : 9) }
#else
  :: d_step { STAGE(a, v) == 2 && DRAINED(v) ->
#ifdef GATE_ANSWERS_LATE
       STAGE(a, v) = 3 }
#else
       STAGE(a, v) = (open == a + 1 -> 3 : 9) }
#endif
  :: d_step { STAGE(a, v) == 2 && !DRAINED(v) -> STAGE(a, v) = 9 }       /* not within 200 ms */
#endif
#ifdef FLIP_BEFORE_STOP
  :: d_step { STAGE(a, v) == 3 -> flip(a, v); if :: STAGE(a, v) == 5 -> STAGE(a, v) = 8 :: else fi }
  :: d_step { STAGE(a, v) == 8 -> stopVm(a, v); if :: STAGE(a, v) == 4 -> putBack(v); STAGE(a, v) = 5 :: else fi }
#else
  :: d_step { STAGE(a, v) == 3 -> stopVm(a, v) }
#ifdef NOT_READ_EMPTY
  :: d_step { STAGE(a, v) == 4 -> flip(a, v) }
#else
  :: d_step { STAGE(a, v) == 4 && EMPTIED(v) -> flip(a, v) }
#endif
#endif
  :: d_step { STAGE(a, v) == 5 ->
       if
#ifndef SAVED_WITHOUT_STANDING
       :: !HAS(stood[a], v) -> STAGE(a, v) = 9
#endif
       :: else -> image(a, v);
#ifdef SUSPEND
            STAGE(a, v) = 7
#else
            runs = runs | (BIT(v) & ~ended); stood[a] = stood[a] & ~BIT(v);
            STAGE(a, v) = 6
#endif
       fi }
  :: d_step { STAGE(a, v) == 6 -> gate = gate & ~BIT(v); STAGE(a, v) = 7 }
  :: d_step { faults > 0 && STAGE(a, v) >= 1 && STAGE(a, v) <= 6 -> faults--;       /* anything fails */
       if :: STAGE(a, v) == 4 -> excused = true :: else fi;
       STAGE(a, v) = 9 }
  od
}


/* ---- who leads */

/* What a committed cut must be, whatever has happened: asked when the outcome is written. */
inline committed(a) {
  assert(ph[a] == SEALED || ph[a] == ENDING || ph[a] == DONE);
  assert(part[a] && img[a] == ALL);
  assert(recTwice[a] == 0);
  REACHED(SECOND_COMMIT, a == 1)
  REACHED(RECORDED, rec[a] != 0)
  REACHED(RECEIVED, imgGot[a] != 0)
  i = 0;
  do
  :: i < FRAMES ->
       assert(!HAS(imgGot[a], i) || HAS(imgSent[a], i));                              /* no orphan */
       assert(!HAS(rec[a], i) || HAS(imgSent[a], i));                                 /* its sender would send it again */
       assert(!HAS(imgSent[a], i) || loc[i] == LOST || HAS(imgGot[a], i) || HAS(rec[a], i));  /* no loss */
       assert(!(HAS(imgGot[a], i) && HAS(rec[a], i)));                                /* nothing twice */
       i++
  :: else -> break
  od;
  i = 0;
#if FRAMES == 2
  assert(!(SAME_CHANNEL && HAS(imgGot[a], 1) && HAS(rec[a], 0)));                     /* in order */
  assert(!(SAME_CHANNEL && HAS(rec[a], 0) && HAS(rec[a], 1)) || recZeroFirst[a])
#endif
}

inline decide(a, want) {   /* ImageStore.decide: link(2), once */
  if
#ifdef TWO_OUTCOMES
  :: true ->
#else
  :: outcome[a] == 0 ->
#endif
       assert(!written[a]);                       /* at most one outcome */
       outcome[a] = want; written[a] = true;
       if :: want == 1 -> committed(a); forget(a) :: else fi
  :: else
  fi
}

#ifdef LATE_ACCEPTED
#define ANSWERED(a, r) ((reps[a] & (r)) || a == 1 && (reps[0] & (r)))
#define TAKE(a, r)     reps[a] = reps[a] & ~(r); if :: a == 1 -> reps[0] = reps[0] & ~(r) :: else fi
#else
#define ANSWERED(a, r) (reps[a] & (r))
#define TAKE(a, r)     reps[a] = reps[a] & ~(r)
#endif
#define DEADLINE(a)    (cph[a] >= C_PREPARING && cph[a] <= C_SEALING)

proctype Coordinator(byte a) {
end:
  do
  :: d_step { ANSWERED(a, 1) && cph[a] == C_PREPARING -> TAKE(a, 1); cph[a] = C_CUTTING; asks[a] = asks[a] | 2 }
#ifdef COMMIT_BEFORE_SEAL
  :: d_step { ANSWERED(a, 2) && cph[a] == C_CUTTING -> TAKE(a, 2); cph[a] = WANT_COMMIT; asks[a] = asks[a] | 4 }
#else
  :: d_step { ANSWERED(a, 2) && cph[a] == C_CUTTING -> TAKE(a, 2); cph[a] = C_SEALING; asks[a] = asks[a] | 4 }
#endif
  :: d_step { ANSWERED(a, 4) && cph[a] == C_SEALING -> TAKE(a, 4); cph[a] = WANT_COMMIT; reps[a] = 0 }
  :: d_step { ANSWERED(a, 16) && DEADLINE(a) -> TAKE(a, 16); cph[a] = WANT_ABORT; reps[a] = 0 }
  :: d_step { ANSWERED(a, 24) && cph[a] == TELLING -> TAKE(a, 24); cph[a] = OVER; reps[a] = 0 }
  :: d_step { DEADLINE(a) -> cph[a] = WANT_ABORT; reps[a] = 0 }             /* or another operation came first */
  :: d_step { cph[a] == TELLING -> cph[a] = OVER; reps[a] = 0 }
  :: d_step { (cph[a] == WANT_COMMIT || cph[a] == WANT_ABORT) && gone[a] != 2 ->
       if :: cph[a] == WANT_COMMIT -> decide(a, 1) :: else -> decide(a, 2) fi;
       REACHED(HELD, loc[0] == QUEUE && MUST_HOLD(0))
       cph[a] = TELLING; asks[a] = asks[a] | 8 }
  /* loss of what is asked or answered, an answer that comes twice */
  :: d_step { faults > 0 && asks[a] != 0 -> faults--; asks[a] = 0 }
  :: d_step { faults > 0 && reps[a] != 0 -> faults--; reps[a] = 0 }
  :: d_step { faults > 0 && ph[a] == CUTTING -> faults--; asks[a] = asks[a] | 2 | 1 }
  od
}

inline begin(a, with) {
  token[a] = with;
#ifdef EPOCH_AGAIN
  k0[a] = 2;
#else
  k0[a] = hostK + 1;
#endif
  cph[a] = C_PREPARING;
  asks[a] = 1
}
inline recover(a) {        /* open.ts recover: a snapshot without outcome is aborted, and its folder goes */
  decide(a, 2);
  if
  :: outcome[a] == 2 ->
#ifdef OUTCOME_GOES_FIRST
       gone[a] = 1; outcome[a] = 0
#else
       gone[a] = 2
#endif
  :: else
  fi
}

proctype Workers() {
end:
  do
#if ATTEMPTS == 2
  /* the same worker tries again; or the next one, after the one before died, or is only slow */
  :: d_step { cph[0] == OVER && outcome[0] == 2 && cph[1] == IDLE -> gone[0] = 2; begin(1, 1) }
  :: d_step { gone[0] == 2 && cph[0] != OVER && cph[1] == IDLE -> begin(1, 2) }
  :: d_step { faults > 0 && gone[0] == 0 && cph[0] != OVER && cph[0] != DEAD && cph[1] == IDLE && outcome[0] != 1 -> faults--; recover(0) }
#endif
#ifdef OUTCOME_GOES_FIRST
  :: d_step { gone[0] == 1 -> gone[0] = 2 }
  :: d_step { gone[1] == 1 -> gone[1] = 2 }
#endif
  :: d_step { faults > 0 && cph[0] != OVER && cph[0] != DEAD -> faults--; cph[0] = DEAD; reps[0] = 0 }
  :: d_step { cph[0] == DEAD && gone[0] == 0 && outcome[0] != 1 -> recover(0) }
  :: d_step { faults > 0 && cph[1] != OVER && cph[1] != DEAD && cph[1] != IDLE -> faults--; cph[1] = DEAD; reps[1] = 0 }
  :: d_step { cph[1] == DEAD && gone[1] == 0 && outcome[1] != 1 -> recover(1) }
  od
}

/* Where nothing can happen any more all is well: every VM runs (or has ended with its suspension), every frame has arrived, nothing is left. */
proctype End() {
  timeout ->
  assert(ph[0] == NONE || ph[0] == DONE || ph[0] == VOID);
  assert(ph[1] == NONE || ph[1] == DONE || ph[1] == VOID);
#ifdef SUSPEND
  assert(outcome[0] == 1 || outcome[1] == 1 || runs == ALL);
  assert(ended == 0 || outcome[0] == 1 || outcome[1] == 1);
  if :: ended != 0 -> goto over :: else fi;
#else
  assert(runs == ALL);
#endif
  assert(gate == 0 && open == 0);
  assert(outcome[0] == 1 || !made[0]);
  assert(outcome[1] == 1 || !made[1]);
  assert(gotOrder == 0);
  assert(loc[0] == GOT || excused);
  assert(loc[FRAMES - 1] == GOT || excused);
over:
  skip
}

init {
  atomic {
    src[0] = 0; dst[0] = 1;     /* VMs are alike, so the first frame may have any channel */
#if FRAMES == 2
    if                          /* the second one: the same channel, the way back, to or from the third VM */
    :: src[1] = 0; dst[1] = 1
    :: src[1] = 1; dst[1] = 0
#if VMS == 3
    :: src[1] = 0; dst[1] = 2
    :: src[1] = 2; dst[1] = 1
    :: src[1] = 1; dst[1] = 2
    :: src[1] = 2; dst[1] = 0
#endif
    fi;
    run Frame(1);
#endif
    run Frame(0); run Switch(); run Agent(); run Workers(); run End();
    run Participant(0); run Coordinator(0); run Cut(0, 0); run Cut(0, 1);
#if VMS == 3
    run Cut(0, 2);
#endif
#if ATTEMPTS == 2
    run Participant(1); run Coordinator(1); run Cut(1, 0); run Cut(1, 1);
#if VMS == 3
    run Cut(1, 2);
#endif
#endif
    begin(0, 1)
  }
}
