/** pgtls itself, the floor (the same relay code with TLS on neither leg), and pgtls with warm connections. */
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PROGRAM } from '../../scripts/lib/paths.mjs';
import { capture } from '../../scripts/lib/run.mjs';
import { describeMachine } from '../lib/machine.mjs';
import { PgtlsProcess } from '../lib/proxy.mjs';

/** @typedef {import('../lib/contestants.mjs').Setting} Setting */
/** @typedef {import('../lib/contestants.mjs').Contestant} Contestant */

/** The keys that one is started with beside its addresses. @typedef {{ hasTls: boolean, backend?: string }} Flavour */

/** @param {Setting} setting @param {Flavour} flavour */
function configOf(setting, { hasTls, backend = '' }) {
  const { leg, certificate, port, workers = 0, resumes = false } = setting;
  const tls = hasTls
    ? `sslmode = "require"
ssl_cert_file = ${JSON.stringify(certificate.certFile)}
ssl_key_file = ${JSON.stringify(certificate.keyFile)}
${resumes && TAKES.tickets() ? TICKETS : ''}`
    : 'sslmode = "disable"';
  return `workers = ${workers}
shutdown_timeout = "1s"
[[proxy]]
name = "bench"
[proxy.listener]
bind_address = "127.0.0.1:0"
${tls}
[proxy.backend]
address = "127.0.0.1:${port}"
sslmode = "${leg === 'tls' ? 'require' : 'disable'}"
${backend}
`;
}

/** @param {Flavour} flavour @returns {Contestant['start']} */
function starter(flavour) {
  return async (setting) => {
    const { directory, place } = setting;
    const proxy = await PgtlsProcess.start(directory, configOf(setting, flavour), { place });
    return {
      pid: proxy.pid,
      port: Number(proxy.address().split(':').at(-1)),
      clientTls: flavour.hasTls,
      stop: () => proxy.stop(),
    };
  };
}

const TICKETS = 'session_tickets = 2';
const WARM = 'warm_connections = 8';

/** Which keys this version takes, asked once of `pgtls validate`. */
const TAKES = {
  tickets: once(() => takes({ listener: TICKETS })),
  warm: once(() => takes({ backend: WARM })),
};

/** @template T @param {() => T} ask @returns {() => T} */
function once(ask) {
  /** @type {{ answer: T } | null} */
  let known = null;
  return () => {
    known ??= { answer: ask() };
    return known.answer;
  };
}

/** @param {{ listener?: string, backend?: string }} keys */
function takes({ listener = '', backend = '' }) {
  const file = join(tmpdir(), `pgtls-bench-probe-${process.pid}.toml`);
  const text = `[[proxy]]
[proxy.listener]
bind_address = "127.0.0.1:0"
sslmode = "disable"
${listener}
[proxy.backend]
address = "127.0.0.1:5432"
${backend}
`;
  writeFileSync(file, text);
  const { output } = capture(process.execPath, [PROGRAM, 'validate', '-c', file]);
  rmSync(file);
  return !/not supported by this version|unknown key/.test(output);
}

const version = () => describeMachine().pgtls;

/** @type {Contestant} */
export const PGTLS = {
  name: 'pgtls',
  kind: 'pgtls',
  about: 'this repository, as configured by default',
  legs: ['plain', 'tls'],
  missing: () => null,
  version,
  start: starter({ hasTls: true }),
};

/** @type {Contestant} */
export const FLOOR = {
  name: 'floor',
  kind: 'floor',
  about:
    'pgtls with sslmode = "disable" on both legs: the same relay without TLS; its clients have none either',
  legs: ['plain'],
  missing: () => null,
  lacks: (measure, variant) => {
    if (variant === 'rsa' || variant === 'resumed') {
      return 'it has no TLS';
    }
    if (measure === 'memory') {
      return 'the clients that hold sessions speak TLS only';
    }
    return measure === 'rest' ? 'it is pgtls' : null;
  },
  version,
  start: starter({ hasTls: false }),
};

/** @type {Contestant} */
export const PGTLS_WARM = {
  ...PGTLS,
  name: 'pgtls-warm',
  about: `pgtls with ${WARM}`,
  missing: () => (TAKES.warm() ? null : 'this version of pgtls has no key "warm_connections"'),
  lacks: (measure, variant) =>
    measure === 'connections' && variant === 'ecdsa' ? null : 'as pgtls',
  start: starter({ hasTls: true, backend: WARM }),
};
