/** The targets: ratios within one run, so that they hold on any machine. Each is met, missed, or can't be said, and why. */

/** @typedef {(measure: string, variant: string, contestant: string, figure: string, isUnpinned?: boolean) => number | null} Median of a cell, null without one */
/**
 * `value` and `limit` are in the same unit, `isMet` compares them; `null` = a figure is missing, `missing` says which.
 * @typedef {{ name: string, rule: string, value: number | null, limit: number | null, isMet: boolean | null, missing: string | null }} Verdict
 */
/** @typedef {{ measure: string, variant: string, figure: string }} Figure */
/** @typedef {{ label: string, factor: number, of: readonly string[], plus?: number, leg?: 'tls' }} Limit factor × the lowest of these + plus */
/** @typedef {Figure & { name: string, ours?: string, limits: readonly Limit[], isAtLeast?: boolean, isUnpinned?: boolean }} Target */

const NODE = 'node-tls';
const BOUNCER = 'pgbouncer';
const RELAYS = ['stunnel', NODE];
const PEERS = [BOUNCER, ...RELAYS];

const SMALL = { measure: 'small-queries', variant: '16 sessions', figure: 'cpuMicros' };
const OUT = { measure: 'bulk', variant: 'out', figure: 'cpuSecondsPerGb' };
const IN = { measure: 'bulk', variant: 'in', figure: 'cpuSecondsPerGb' };
const ECDSA = { measure: 'connections', variant: 'ecdsa', figure: 'cpuMillis' };

/** @param {string} label @param {number} factor @param {...string} of @returns {Limit} */
function times(label, factor, ...of) {
  return { label: `≤ ${factor} × ${label}`, factor, of };
}

/** @param {string} label @param {number} plus @param {string} of @returns {Limit} */
function plus(label, plus, of) {
  return { label: `≤ ${label}`, factor: 1, of: [of], plus };
}

/**
 * On one core a proxy can only add to what PostgreSQL does, so rates of connections count unpinned, where the two work side by side.
 * @type {readonly Target[]}
 */
const RATIOS = [
  {
    ...SMALL,
    name: 'CPU per small transaction, 16 sessions',
    limits: [
      times('floor', 1.08, 'floor'),
      times('PgBouncer', 0.8, BOUNCER),
      times('node:tls', 0.5, NODE),
    ],
  },
  {
    ...OUT,
    name: 'COPY out, CPU s/GB',
    limits: [
      plus('floor + 0.20', 0.2, 'floor'),
      times('best peer', 0.6, ...PEERS),
      times('node:tls', 0.5, NODE),
    ],
  },
  {
    ...IN,
    name: 'COPY in, CPU s/GB',
    limits: [plus('floor + 0.25', 0.25, 'floor'), times('best peer', 0.7, ...PEERS)],
  },
  {
    ...ECDSA,
    name: 'new connection (ECDSA), CPU ms',
    limits: [times('best relay', 0.7, ...RELAYS), times('node:tls', 0.3, NODE)],
  },
  {
    ...ECDSA,
    figure: 'perSecond',
    name: 'new connections/s, unpinned',
    isAtLeast: true,
    isUnpinned: true,
    limits: [{ label: '≥ 1.0 × direct', factor: 1, of: ['direct'] }],
  },
  {
    ...ECDSA,
    figure: 'perSecond',
    name: 'the same with warm_connections',
    ours: 'pgtls-warm',
    isAtLeast: true,
    isUnpinned: true,
    limits: [{ label: '> 1.2 × direct', factor: 1.2, of: ['direct'] }],
  },
  {
    ...ECDSA,
    variant: 'rsa',
    name: 'new connection (RSA-2048), CPU ms',
    limits: [times('PgBouncer', 0.89, BOUNCER)],
  },
  {
    ...ECDSA,
    variant: 'resumed',
    name: 'resumed connection, CPU ms',
    limits: [times('PgBouncer', 0.9, BOUNCER)],
  },
  {
    ...SMALL,
    variant: '1 session',
    figure: 'p50',
    name: 'p50 latency µs, 1 session',
    limits: [plus('direct + 22', 22, 'direct')],
  },
  {
    ...SMALL,
    variant: '1 session',
    figure: 'p99',
    name: 'p99 latency µs, 1 session',
    limits: [times("best peer's", 1, ...PEERS)],
  },
];

/** With TLS on both legs a floor is none: it has no second TLS either. @type {readonly Target[]} */
const BOTH_LEGS = [
  { ...SMALL, name: 'TLS on both legs: CPU per small transaction', limits: againstPeers(0.8, 0.5) },
  {
    ...OUT,
    name: 'TLS on both legs: COPY out, CPU s/GB',
    limits: [bothLegs(times('best peer', 0.6, ...PEERS)), bothLegs(times('node:tls', 0.5, NODE))],
  },
  {
    ...IN,
    name: 'TLS on both legs: COPY in, CPU s/GB',
    limits: [bothLegs(times('best peer', 0.7, ...PEERS))],
  },
];

/** @param {number} bouncer @param {number} node */
function againstPeers(bouncer, node) {
  return [bothLegs(times('PgBouncer', bouncer, BOUNCER)), bothLegs(times('node:tls', node, NODE))];
}

/** @param {Limit} limit @returns {Limit} */
function bothLegs(limit) {
  return { ...limit, leg: 'tls' };
}

/** @type {ReadonlyArray<Figure & { name: string, rule: string, limit: number }>} */
const ABSOLUTES = [
  {
    measure: 'memory',
    variant: '9000 idle',
    figure: 'kibPerSession',
    name: 'memory per idle TLS session, KiB',
    rule: '≤ 7 at 9,000',
    limit: 7,
  },
  {
    measure: 'memory',
    variant: '9000 idle',
    figure: 'leftShare',
    name: 'memory after close',
    rule: '≤ 1.4 × rest',
    limit: 1.4,
  },
  {
    measure: 'rest',
    variant: 'idle',
    figure: 'restMb',
    name: 'process at rest, MB PSS',
    rule: '≤ 60',
    limit: 60,
  },
  {
    measure: 'rest',
    variant: 'idle',
    figure: 'wakeUpsPerSecond',
    name: 'wake-ups per second at rest',
    rule: '≤ 0',
    limit: 0,
  },
  {
    measure: 'rest',
    variant: 'idle',
    figure: 'startMillis',
    name: 'pgtls -c to listening, ms',
    rule: '≤ 150',
    limit: 150,
  },
  {
    measure: 'in-process',
    variant: 'hand-off',
    figure: 'microsAboveBare',
    name: 'hand-off on the JavaScript thread, µs above bare Node',
    rule: '≤ 25',
    limit: 25,
  },
];

/** Says of each target whether it is met. @param {Median} median @returns {Verdict[]} */
export function evaluateTargets(median) {
  const ratios = [...RATIOS, ...BOTH_LEGS].flatMap((target) =>
    target.limits.map((limit) => evaluateRatio(target, limit, median)),
  );
  const absolutes = ABSOLUTES.map(({ measure, variant, figure, name, rule, limit }) => {
    const value = median(measure, variant, 'pgtls', figure);
    const missing = value === null ? `pgtls: ${measure}, ${variant}` : null;
    return verdict({ name, rule, value, limit, missing, isAtLeast: false });
  });
  return [...ratios, ...absolutes];
}

/** @param {Target} target @param {Limit} limit @param {Median} median @returns {Verdict} */
function evaluateRatio(target, limit, median) {
  const { measure, variant, figure, name, ours = 'pgtls' } = target;
  const { isAtLeast = false, isUnpinned = false } = target;
  const suffix = limit.leg === 'tls' ? '+tls' : '';
  const value = median(measure, variant, `${ours}${suffix}`, figure, isUnpinned);
  const others = limit.of
    .map((contestant) => median(measure, variant, `${contestant}${suffix}`, figure, isUnpinned))
    .filter((found) => found !== null);
  const missing =
    value === null ? `${ours}${suffix}` : others.length === 0 ? limit.of.join(', ') : null;
  const bound = others.length === 0 ? null : limit.factor * Math.min(...others) + (limit.plus ?? 0);
  return verdict({ name, rule: limit.label, value, limit: bound, missing, isAtLeast });
}

/** @param {Omit<Verdict, 'isMet'> & { isAtLeast: boolean }} parts @returns {Verdict} */
function verdict({ name, rule, value, limit, missing, isAtLeast }) {
  const isMet =
    value === null || limit === null ? null : isAtLeast ? value >= limit : value <= limit;
  return { name, rule, value, limit, isMet, missing };
}
