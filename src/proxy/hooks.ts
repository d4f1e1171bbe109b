/**
 * Hooks of the program that embeds pgtls: asked in the middle of a connection, answered in their own time.
 *
 * A question waits within client_login_timeout. A hook that throws or rejects refuses; what it threw goes to the log. Without
 * a hook its question is never asked.
 */
import { isTable } from '../config/table-reader.ts';
import type {
  Answer,
  DataPlaneEvent,
  HookSet,
  NativePeerCertificate,
} from '../data-plane/data-plane.ts';

/** What every hook is told. */
interface Asked {
  /** Name of the `[[proxy]]`. */
  readonly route: string;
  /** As in the log. */
  readonly connectionId: number;
}

/** A certificate that was verified as the configuration demands. */
export interface PeerCertificate {
  /** Distinguished name. */
  readonly subject: string;
  /** Distinguished name. */
  readonly issuer: string;
  /** DNS names and IP addresses plain, others with their kind before (`email:`, `URI:`). */
  readonly sans: readonly string[];
  /** When it begins. */
  readonly notBefore: Date;
  /** When it ends. */
  readonly notAfter: Date;
  /** Of the DER, lower-case hexadecimal. */
  readonly sha256: string;
  /** DER, such as `new X509Certificate(raw)` takes it. */
  readonly raw: Buffer;
}

/** A ClientHello, before anything was answered. */
export interface ClientHello extends Asked {
  /** `host:port` or `unix:…`. */
  readonly clientAddr: string;
  /** Server name (SNI) that the client asked for. */
  readonly serverName: string | null;
  /** Offered, most preferred first. */
  readonly alpn: readonly string[];
}

/** What a ClientHello is answered with in place of what is configured; what is left out stays. */
export interface ClientHelloChoice {
  /** The identity is chosen as if the client had named this server. */
  readonly serverName?: string;
  /** Protocols accepted. */
  readonly alpn?: readonly string[];
}

/** A client after its handshake. */
export interface HandshakenClient extends Asked {
  /** `host:port` or `unix:…`. */
  readonly clientAddr: string;
  /** Server name (SNI) that the client asked for. */
  readonly serverName: string | null;
  /** null if it showed none. */
  readonly certificate: PeerCertificate | null;
}

/** A backend after its handshake. */
export interface HandshakenBackend extends Asked {
  /** As dialled. */
  readonly backendAddr: string;
  readonly certificate: PeerCertificate;
}

/** A session that is about to be connected; without TLS, `serverName`, `alpn` and `certificate` are null. */
export interface SessionStart extends HandshakenClient {
  /** Agreed on. */
  readonly alpn: string | null;
  /** Of the StartupMessage. */
  readonly user: string | null;
  /** Of the StartupMessage; the user's name where that has none. */
  readonly database: string | null;
}

/** The same in every copy of this package. */
const REFUSAL: unique symbol = Symbol.for('pgtls.refusal');

/** Made by {@link refuse}. */
export interface Refusal {
  readonly [REFUSAL]: string;
}

/** What a hook returns to end the connection; the client is told SQLSTATE 28000, the log the reason. */
export function refuse(reason: string): Refusal {
  return { [REFUSAL]: describe(reason) };
}

type Awaitable<T> = T | Promise<T>;
// biome-ignore lint/suspicious/noConfusingVoidType: what a function without a return statement returns
type Nothing = undefined | null | void;

/** All optional; each may be async. Nothing returned = go on as configured. */
export interface ProxyHooks {
  /** Before the handshake with a client: another identity or other protocols, or the end. */
  readonly onClientHello?:
    | ((hello: ClientHello) => Awaitable<ClientHelloChoice | Refusal | Nothing>)
    | undefined;
  /** After it and before anything is forwarded. */
  readonly onClientCertificate?:
    | ((client: HandshakenClient) => Awaitable<Refusal | Nothing>)
    | undefined;
  /** After TLS with the backend stands and before anything is sent to it. */
  readonly onBackendCertificate?:
    | ((backend: HandshakenBackend) => Awaitable<Refusal | Nothing>)
    | undefined;
  /** The name of one of `[proxy.backends]`, or nothing. */
  readonly route?: ((session: SessionStart) => Awaitable<string | Refusal | Nothing>) | undefined;
}

/** An event of the data plane that waits for an answer. */
export type QuestionEvent = Extract<DataPlaneEvent, { questionId: number }>;

/** Whether `event` waits for an answer. */
export function isQuestion(event: DataPlaneEvent): event is QuestionEvent {
  return 'questionId' in event;
}

/** Which questions these hooks want to be asked. */
export function hookSetOf(hooks: ProxyHooks): HookSet {
  return {
    clientHello: hooks.onClientHello !== undefined,
    clientCertificate: hooks.onClientCertificate !== undefined,
    backendCertificate: hooks.onBackendCertificate !== undefined,
    route: hooks.route !== undefined,
  };
}

/** Asks the hook that `event` is for; never rejects. `routeNames` by route id. */
export async function answerOf(
  hooks: ProxyHooks,
  event: QuestionEvent,
  routeNames: readonly string[],
): Promise<Answer> {
  const asked = {
    route: routeNames[event.routeId] ?? '',
    connectionId: event.connectionId,
  };
  try {
    return toAnswer(event.type, await askHook(hooks, event, asked));
  } catch (error) {
    return { type: 'refuse', reason: `it failed: ${describe(error)}` };
  }
}

type Returned = string | ClientHelloChoice | Refusal | Nothing;

function askHook(hooks: ProxyHooks, event: QuestionEvent, asked: Asked): Awaitable<Returned> {
  switch (event.type) {
    case 'client-hello': {
      const { clientAddr, serverName, alpn } = event;
      return hooks.onClientHello?.({ ...asked, clientAddr, serverName, alpn });
    }
    case 'client-certificate':
      return hooks.onClientCertificate?.({ ...asked, ...handshakenClient(event) });
    case 'backend-certificate': {
      const certificate = peerCertificate(event.certificate);
      return hooks.onBackendCertificate?.({
        ...asked,
        backendAddr: event.backendAddr,
        certificate,
      });
    }
    case 'route': {
      const { alpn, user, database } = event;
      return hooks.route?.({ ...asked, ...handshakenClient(event), alpn, user, database });
    }
    default:
      return event satisfies never;
  }
}

function handshakenClient(event: {
  clientAddr: string;
  serverName: string | null;
  certificate: NativePeerCertificate | null;
}) {
  const { clientAddr, serverName, certificate } = event;
  return {
    clientAddr,
    serverName,
    certificate: certificate === null ? null : peerCertificate(certificate),
  };
}

function peerCertificate(native: NativePeerCertificate): PeerCertificate {
  const { subject, issuer, sans, notBeforeSeconds, notAfterSeconds, sha256, derHex } = native;
  return {
    subject,
    issuer,
    sans,
    notBefore: new Date(notBeforeSeconds * 1_000),
    notAfter: new Date(notAfterSeconds * 1_000),
    sha256,
    raw: Buffer.from(derHex, 'hex'),
  };
}

/** Whatever a hook returned that is not known to mean "go on" refuses. */
function toAnswer(question: QuestionEvent['type'], returned: unknown): Answer {
  if (returned === undefined || returned === null) {
    return { type: 'accept' };
  }
  if (typeof returned === 'object' && REFUSAL in returned) {
    return { type: 'refuse', reason: describe(returned[REFUSAL]) };
  }
  if (question === 'route' && typeof returned === 'string') {
    return { type: 'backend', name: returned };
  }
  const choice = question === 'client-hello' ? toChoice(returned) : null;
  return choice ?? { type: 'refuse', reason: 'it returned what has no meaning here' };
}

const CHOICE_NAMES: readonly PropertyKey[] = [
  'serverName',
  'alpn',
] satisfies (keyof ClientHelloChoice)[];

/** null = it is none: a name that is no choice, or an object made for something else, may have been meant to refuse. */
function toChoice(returned: unknown): Answer | null {
  if (!isTable(returned) || !Reflect.ownKeys(returned).every((key) => CHOICE_NAMES.includes(key))) {
    return null;
  }
  const { serverName = null, alpn = null } = returned as Record<string, unknown>;
  const isName = serverName === null || typeof serverName === 'string';
  return isName && (alpn === null || isProtocols(alpn))
    ? { type: 'identity', serverName, alpn }
    : null;
}

/** A gap in the list is none. */
function isProtocols(alpn: unknown): alpn is string[] {
  return Array.isArray(alpn) && [...alpn].every(isProtocol);
}

/** RFC 7301 section 3.1: 1 to 255 bytes. */
function isProtocol(name: unknown): boolean {
  return typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= 255;
}

/** Never throws, whatever was thrown. */
function describe(reason: unknown): string {
  try {
    return reason instanceof Error ? reason.message : String(reason);
  } catch {
    return 'of a reason that cannot be told';
  }
}
