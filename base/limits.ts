// Every bound of the system, each with the reason for its size.

export const limits = {
  /** XML-RPC bodies: a request RSpec of 1 MiB and ten credentials with chains fit well. */
  bodyBytes: 8 * 1024 * 1024,
  /** Deeper than any RSpec, far less than what exhausts a stack. */
  xmlDepth: 64,
  credentialBytes: 256 * 1024,
  rspecBytes: 1024 * 1024,
  /** Nodes of one request; the host's memory is the real bound. */
  nodesPerSlice: 64,
  /** Disk images of one user, unless the operator says otherwise; the list of them goes into every advertisement. */
  imagesPerUser: 32,
  /** What a host keeps of the disk images that it has fetched, and the most that one of them may have (`up --image-cache`). */
  imageCacheBytes: 8 * 1024 ** 3,
  /** Fetching one and making a layer of it: some GiB over a slow line. */
  imageFetchMs: 60 * 60_000,
  /** Waiting for one, with its turn behind others and a host that is away. */
  imageWaitMs: 4 * 3_600_000,
  /** A server that sends nothing for so long has gone. */
  imageStallMs: 60_000,
  /** Fetched at the same time by one host: its line and its disk are for its VMs. */
  imageFetches: 4,
  /** Life of slivers that are allocated and not provisioned (AM API v3 suggests about ten minutes). */
  allocatedLifeMs: 10 * 60_000,
  /** The longest lease of a provisioned sliver. */
  provisionedLifeMs: 30 * 24 * 3600_000,
  /** A VM that has not taken what was sent to it by then is not drained: the cut is void and tried again. */
  drainMs: 200,
  /** A gated or holding port goes forward by itself after this. */
  holdMs: 5_000,
  /** The bound of a port's queue; at half of it the cut is given up (cut protocol, hole 17). */
  portQueueBytes: 32 * 1024 * 1024,
  /** What QEMU may have read and not handed to the guest: 68 KiB, so twice that is kept for putting back. */
  writtenRingBytes: 128 * 1024,
  /** Every QMP call; a bare `stop` takes 1 ms, a frozen QEMU never answers. */
  qmpMs: 4_000,
  /** From `migrate` to RESUME in live mode. After it the rescue runs. */
  resumeMs: 4_000,
  /** Writing one VM's memory, whatever its size. */
  saveMs: 120_000,
  prepareMs: 10_000,
  sealMs: 120_000,
  restoreMs: 60_000,
  /** Merging disk layers in the background: some GiB with the idle share of a busy disk. */
  mergeMs: 30 * 60_000,
  /** From start to an SSH banner; TCG on a loaded machine needs 3 to 60 s. */
  bootMs: 180_000,
  /** No snapshot begins with less than this free on the store, unless the operator says otherwise (`up --free-floor`). */
  freeFloorBytes: 512 * 1024 * 1024,
  /** Kept free by a host for the moment when its disk is full; it lasts for minutes of what VMs write. */
  ballastBytes: 128 * 1024 * 1024,
  /** VMs of a host whose `up` was killed run on for so long: time for somebody to see it, even at a week-end's begin (`up --outlive`). */
  outliveMs: 24 * 3_600_000,
  /** Policy snapshots kept when the request does not say. */
  keepPolicySnapshots: 8,
  minIntervalMs: 5_000,
  maxKeep: 32,
  /** The longest duration that a policy may name: leases end long before. */
  maxAgeMs: 365 * 86_400_000,
} as const
