/**
 * What must become of a session, by PostgreSQL's and libpq's documentation: the oracle of the matrix client mode × listener
 * mode × backend mode.
 *
 * Deliberately independent of src/ and crates/: sources are the libpq chapters "SSL Mode Descriptions" and "Connection
 * Parameters" (sslmode, sslnegotiation), "Client Authentication" (hostssl), and docs/config.md for what a listener demands.
 */

/** libpq's sslmode. */
export type ClientSslmode =
  | 'disable'
  | 'allow'
  | 'prefer'
  | 'require'
  | 'verify-ca'
  | 'verify-full';

/** How a client asks. */
export interface ClientMode {
  readonly sslmode: ClientSslmode;
  readonly sslnegotiation: 'postgres' | 'direct';
  /** Whether it has a certificate to show (sslcert and sslkey). */
  readonly hasCertificate: boolean;
}

/** What a listener demands. */
export interface ListenerMode {
  readonly sslmode: 'disable' | 'prefer' | 'require' | 'verify-ca';
  readonly sslnegotiation: 'postgres' | 'direct' | 'any';
}

/** What pgtls demands of the server, as a libpq client. */
export interface BackendMode {
  readonly sslmode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  readonly sslnegotiation: 'postgres' | 'direct';
}

/** How PostgreSQL is set up: ssl on or off, or on with only `hostssl` rules for the user. */
export type ServerMode = 'ssl=on' | 'ssl=off' | 'hostssl only';

/** One leg of a session. */
export type Leg = 'TLS' | 'plaintext';

/** Why one attempt of a client came to nothing. */
export type Failure =
  /** pgtls: ErrorResponse 28000 to a plaintext StartupMessage. */
  | 'plaintext refused'
  /** pgtls: ErrorResponse instead of S or N. */
  | 'SSLRequest refused'
  /** pgtls: N, and the client won't do without TLS. */
  | 'SSLRequest declined'
  /** pgtls: closed without a word, since the client expects TLS. */
  | 'direct TLS refused'
  /** pgtls: the alert certificate_required. */
  | 'certificate required'
  /** pgtls: ErrorResponse 08001, no TLS with the server. */
  | 'server without TLS'
  /** PostgreSQL: ErrorResponse 28000, no pg_hba.conf entry for an unencrypted connection. */
  | 'no pg_hba.conf entry';

/** What becomes of a client: a session, or one failure for each of its attempts. */
export type Outcome =
  | { readonly client: Leg; readonly backend: Leg }
  | { readonly failures: readonly Failure[] };

/** How a client begins one attempt. */
type Attempt = 'plaintext' | 'SSLRequest' | 'direct TLS';

/** Every mode of a client that libpq takes. */
const CLIENT_MODES: readonly Omit<ClientMode, 'hasCertificate'>[] = [
  ...(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const).map(
    (sslmode) => ({ sslmode, sslnegotiation: 'postgres' as const }),
  ),
  ...(['require', 'verify-ca', 'verify-full'] as const).map((sslmode) => ({
    sslmode,
    sslnegotiation: 'direct' as const,
  })),
];

/** The modes libpq refuses by itself: direct TLS has no plaintext to fall back to. */
export const WEAK_CLIENT_MODES: readonly ClientSslmode[] = ['disable', 'allow', 'prefer'];

/** Every mode of a listener that pgtls takes. */
export const LISTENER_MODES: readonly ListenerMode[] = [
  ...(['disable', 'prefer', 'require', 'verify-ca'] as const).flatMap((sslmode) =>
    (['postgres', 'any'] as const).map((sslnegotiation) => ({ sslmode, sslnegotiation })),
  ),
  { sslmode: 'require', sslnegotiation: 'direct' },
  { sslmode: 'verify-ca', sslnegotiation: 'direct' },
];

/** Every mode of a backend that pgtls takes. */
export const BACKEND_MODES: readonly BackendMode[] = [
  ...(['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const).map((sslmode) => ({
    sslmode,
    sslnegotiation: 'postgres' as const,
  })),
  ...(['require', 'verify-ca', 'verify-full'] as const).map((sslmode) => ({
    sslmode,
    sslnegotiation: 'direct' as const,
  })),
];

/** Every set-up of PostgreSQL. */
export const SERVER_MODES: readonly ServerMode[] = ['ssl=on', 'ssl=off', 'hostssl only'];

/** One cell of the matrix. */
export interface Cell {
  readonly client: ClientMode;
  readonly listener: ListenerMode;
  readonly backend: BackendMode;
  readonly server: ServerMode;
  readonly expected: Outcome;
}

/** All cells. Whether a client has a certificate is told apart where a listener asks for one. */
export function allCells(): Cell[] {
  return LISTENER_MODES.flatMap((listener) =>
    clientsOf(listener).flatMap((client) =>
      BACKEND_MODES.flatMap((backend) =>
        SERVER_MODES.map((server) => {
          const expected = outcome(client, listener, reach(backend, server));
          return { client, listener, backend, server, expected };
        }),
      ),
    ),
  );
}

function clientsOf(listener: ListenerMode): ClientMode[] {
  const certificates = listener.sslmode === 'verify-ca' ? [true, false] : [false];
  return CLIENT_MODES.flatMap((mode) =>
    certificates.map((hasCertificate) => ({ ...mode, hasCertificate })),
  );
}

/** The cell's modes, and what is expected of it. */
export function nameOf({ client, listener, backend, server, expected }: Cell): string {
  const shown = listener.sslmode !== 'verify-ca' ? '' : certificateWords(client);
  const path = [
    `client ${client.sslmode}/${client.sslnegotiation}${shown}`,
    `listener ${listener.sslmode}/${listener.sslnegotiation}`,
    `backend ${backend.sslmode}/${backend.sslnegotiation}`,
    server,
  ].join(' → ');
  return `${path}: ${describeOutcome(expected)}`;
}

function certificateWords({ hasCertificate }: ClientMode): string {
  return hasCertificate ? ' with a certificate' : ' without a certificate';
}

/** An outcome in words. */
export function describeOutcome(result: Outcome): string {
  return 'failures' in result
    ? `fails with ${result.failures.join(', then ')}`
    : `a session, ${result.client} then ${result.backend}`;
}

/** What pgtls, as a libpq client, gets from the server: a leg, or the failure that its client is told. */
function reach({ sslmode, sslnegotiation }: BackendMode, server: ServerMode): Leg | Failure {
  if (sslmode === 'disable') {
    return server === 'hostssl only' ? 'no pg_hba.conf entry' : 'plaintext';
  }
  if (server !== 'ssl=off') {
    return 'TLS';
  }
  // A server without TLS answers N, which only prefer puts up with; direct TLS it doesn't understand at all.
  return sslmode === 'prefer' && sslnegotiation === 'postgres' ? 'plaintext' : 'server without TLS';
}

/** libpq's attempts in their order. */
function attemptsOf({ sslmode, sslnegotiation }: ClientMode): readonly Attempt[] {
  switch (sslmode) {
    case 'disable':
      return ['plaintext'];
    case 'allow':
      return ['plaintext', 'SSLRequest'];
    case 'prefer':
      return ['SSLRequest', 'plaintext'];
    case 'require':
    case 'verify-ca':
    case 'verify-full':
      return [sslnegotiation === 'direct' ? 'direct TLS' : 'SSLRequest'];
    default:
      return sslmode satisfies never;
  }
}

/** These end libpq's search: the server spoke out of turn, or TLS stood already. */
const FINAL: ReadonlySet<Failure> = new Set<Failure>([
  'SSLRequest refused',
  'certificate required',
]);

function outcome(client: ClientMode, listener: ListenerMode, backend: Leg | Failure): Outcome {
  const failures: Failure[] = [];
  for (const attempt of attemptsOf(client)) {
    const leg = admit(attempt, client, listener);
    if (leg === 'TLS' || leg === 'plaintext') {
      if (backend === 'TLS' || backend === 'plaintext') {
        return { client: leg, backend };
      }
      failures.push(backend);
    } else if (leg === 'SSLRequest declined' && client.sslmode === 'prefer') {
      // Not a failure: the same connection goes on without TLS.
    } else {
      failures.push(leg);
      if (FINAL.has(leg)) {
        break;
      }
    }
  }
  return { failures };
}

/** What a listener makes of one attempt. */
function admit(attempt: Attempt, client: ClientMode, listener: ListenerMode): Leg | Failure {
  const isTlsDemanded = listener.sslmode === 'require' || listener.sslmode === 'verify-ca';
  if (attempt === 'plaintext') {
    return isTlsDemanded ? 'plaintext refused' : 'plaintext';
  }
  if (listener.sslmode === 'disable') {
    return attempt === 'SSLRequest' ? 'SSLRequest declined' : 'direct TLS refused';
  }
  if (attempt === 'SSLRequest' && listener.sslnegotiation === 'direct') {
    return 'SSLRequest refused';
  }
  if (attempt === 'direct TLS' && listener.sslnegotiation === 'postgres') {
    return 'direct TLS refused';
  }
  return listener.sslmode === 'verify-ca' && !client.hasCertificate
    ? 'certificate required'
    : 'TLS';
}
