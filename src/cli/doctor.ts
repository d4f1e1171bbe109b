/**
 * `pgtls doctor`: what this machine offers, and one remedy for each thing that production wants more of.
 *
 * Reads through {@link Machine} only, so that a test can be any machine. May import types of config/ and style.ts only.
 */
import type { Config } from '../config/schema.ts';
import type { Style } from './style.ts';

/** The machine as the doctor sees it. */
export interface Machine {
  /** Such as `linux`. */
  readonly platform: string;
  /** Such as `x64`. */
  readonly architecture: string;
  readonly kernel: string;
  readonly nodeVersion: string;
  /** The text of a file; null when it can't be read. */
  readonly read: (path: string) => string | null;
}

/** What the doctor asks of the native side; the addon is loaded by the first call of `buildInfo`, which throws without it. */
export interface NativeProbe {
  buildInfo(): NativeInfo;
  libcVersion(): string;
  /** The file of the addon, once it is loaded. */
  bindingFile(): string | null;
}

interface NativeInfo {
  readonly version: string;
  readonly rustls: string;
  readonly provider: string;
  readonly cpuFeatures: readonly string[];
}

/** Whose limits are to fit. */
export type Demands = Pick<Config, 'maxClientConn' | 'proxies'>;

/** The native side, or why there is none. */
type NativeFacts =
  | { readonly info: NativeInfo; readonly file: string }
  | { readonly info: null; readonly reason: string };

/** What was found. */
export interface Examination {
  /** Of pgtls. */
  readonly version: string;
  /** In the order of the report. */
  readonly findings: readonly Finding[];
}

/** One line of the report. */
interface Finding {
  readonly verdict: 'ok' | 'note' | 'warning' | 'failure';
  readonly subject: string;
  readonly text: string;
  readonly remedy: string | null;
}

const WITHOUT_BINDING = 'unknown without the binding';
const DEFAULT_MAX_CLIENT_CONN = 10_000;
const DEFAULT_LISTEN_BACKLOG = 4_096;

/** Two descriptors a session, and those of the process itself. */
const DESCRIPTORS_PER_SESSION = 2;
const OWN_DESCRIPTORS = 64;

/** Examines the machine for `demands`, null = those of the defaults. */
export function diagnose(
  version: string,
  machine: Machine,
  probe: NativeProbe,
  demands: Demands | null,
): Examination {
  const { platform, architecture, kernel, nodeVersion } = machine;
  const native = nativeFacts(probe);
  const findings = [
    ok('platform', `${platform}-${architecture}, kernel ${kernel}`),
    ok('libc', probe.libcVersion()),
    ok('Node.js', nodeVersion),
    binding(native, version),
    cryptoProvider(native),
    cpu(native),
    openFiles(machine, demands?.maxClientConn ?? DEFAULT_MAX_CLIENT_CONN),
    somaxconn(machine, longestBacklog(demands)),
    ok('driver', 'tokio'),
    note('kernel TLS', kernelTls(machine)),
  ];
  return { version, findings };
}

/** The report as text, in columns: words in front for files and pipes, symbols where somebody looks at it. */
export function formatExamination(examination: Examination, { isRich, paint }: Style): string {
  const { version, findings } = examination;
  const width = Math.max(...findings.map(({ subject }) => subject.length));
  const markWidth = isRich ? 1 : MARK_WIDTH;
  const margin = ' '.repeat(markWidth + width + 4);
  const lines = findings.flatMap(({ verdict, subject, text, remedy }) => {
    const [word, symbol, tone] = MARKS[verdict];
    const mark = isRich ? symbol : word;
    const padding = ' '.repeat(markWidth - mark.length);
    const [first = '', ...rest] = text.split('\n');
    return [
      `${paint(tone, mark)}${padding}  ${paint('faint', subject.padEnd(width))}  ${first}`,
      ...rest.map((line) => `${margin}${line}`),
      ...(remedy === null ? [] : [`${margin}${paint('name', `→ ${remedy}`)}`]),
    ];
  });
  const [verdict, tone] = summary(examination);
  const title = `pgtls ${paint('strong', version)}`;
  return `${title}\n\n${lines.join('\n')}\n\n${paint(tone, verdict)}\n`;
}

/** Whether pgtls can run on this machine at all. */
export function canRun({ findings }: Examination): boolean {
  return findings.every(({ verdict }) => verdict !== 'failure');
}

type Tone = 'good' | 'faint' | 'doubtful' | 'bad';

/** What stands in front of a line: a word, or a symbol in that tone. */
const MARKS: Readonly<
  Record<Finding['verdict'], readonly [word: string, symbol: string, tone: Tone]>
> = {
  ok: ['ok', '✓', 'good'],
  note: ['-', '·', 'faint'],
  warning: ['warn', '!', 'doubtful'],
  failure: ['FAIL', '✗', 'bad'],
};
const MARK_WIDTH = 4;

function summary(examination: Examination): readonly [verdict: string, tone: Tone] {
  if (!canRun(examination)) {
    return ['pgtls cannot run here.', 'bad'];
  }
  const warnings = examination.findings.filter(({ verdict }) => verdict === 'warning').length;
  const noun = warnings === 1 ? 'warning' : 'warnings';
  return warnings === 0
    ? ['pgtls can run here.', 'good']
    : [`pgtls can run here, with ${warnings} ${noun}.`, 'doubtful'];
}

function nativeFacts(probe: NativeProbe): NativeFacts {
  try {
    const info = probe.buildInfo();
    return { info, file: probe.bindingFile() ?? 'loaded' };
  } catch (error) {
    return { info: null, reason: error instanceof Error ? error.message : String(error) };
  }
}

function binding(native: NativeFacts, version: string): Finding {
  if (native.info === null) {
    return { verdict: 'failure', subject: 'binding', text: native.reason, remedy: null };
  }
  const text = `${native.file}, version ${native.info.version}`;
  return native.info.version === version
    ? ok('binding', text)
    : warning('binding', text, `reinstall pgtls: its binding has to be of version ${version}`);
}

function cryptoProvider({ info }: NativeFacts): Finding {
  return info === null
    ? note('crypto provider', WITHOUT_BINDING)
    : ok('crypto provider', `${info.provider}, rustls ${info.rustls}`);
}

function cpu({ info }: NativeFacts): Finding {
  if (info === null) {
    return note('CPU', WITHOUT_BINDING);
  }
  return info.cpuFeatures.includes('aes')
    ? ok('CPU', info.cpuFeatures.join(', '))
    : warning(
        'CPU',
        ['no instructions for AES', ...info.cpuFeatures].join(', '),
        'put TLS_CHACHA20_POLY1305_SHA256 first in ssl_ciphers, or use a CPU with AES',
      );
}

function openFiles(machine: Machine, clients: number): Finding {
  const limits = machine.read('/proc/self/limits');
  const [, soft = '', hard = ''] = /^Max open files +(\w+) +(\w+)/m.exec(limits ?? '') ?? [];
  if (hard === '') {
    return note('open files', 'unknown: /proc/self/limits cannot be read');
  }
  const wanted = clients * DESCRIPTORS_PER_SESSION + OWN_DESCRIPTORS;
  const text = `soft limit ${soft}, hard limit ${hard} (Node.js raises its soft limit to the hard one)`;
  return hard === 'unlimited' || Number(hard) >= wanted
    ? ok('open files', text)
    : warning(
        'open files',
        `${text}\nmax_client_conn = ${clients} wants ${wanted}: two for each session and ${OWN_DESCRIPTORS}`,
        `LimitNOFILE=${wanted} in the systemd unit, or ulimit -Hn ${wanted} as root`,
      );
}

function longestBacklog(demands: Demands | null): number {
  const backlogs = demands?.proxies.map(({ listener }) => listener.listenBacklog) ?? [];
  return backlogs.length === 0 ? DEFAULT_LISTEN_BACKLOG : Math.max(...backlogs);
}

function somaxconn(machine: Machine, wanted: number): Finding {
  const text = machine.read('/proc/sys/net/core/somaxconn')?.trim() ?? '';
  if (text === '') {
    return note('somaxconn', 'unknown: /proc/sys/net/core/somaxconn cannot be read');
  }
  return Number(text) >= wanted
    ? ok('somaxconn', text)
    : warning(
        'somaxconn',
        `${text}: the kernel cuts listen_backlog = ${wanted} to it`,
        `sysctl -w net.core.somaxconn=${wanted}`,
      );
}

/** Reported because people ask; nothing here depends on it. */
function kernelTls({ read }: Machine): string {
  const protocols = read('/proc/sys/net/ipv4/tcp_available_ulp')?.trim().split(/\s+/) ?? [];
  const isThere = protocols.includes('tls') || read('/proc/net/tls_stat') !== null;
  return isThere
    ? 'in this kernel; pgtls does not use it: it encrypts in user space'
    : 'not in this kernel, or its module is not loaded; pgtls does not use it';
}

function ok(subject: string, text: string): Finding {
  return { verdict: 'ok', subject, text, remedy: null };
}

/** What is told and not judged. */
function note(subject: string, text: string): Finding {
  return { verdict: 'note', subject, text, remedy: null };
}

function warning(subject: string, text: string, remedy: string): Finding {
  return { verdict: 'warning', subject, text, remedy };
}
