/**
 * What a client is told when its negotiation is refused: one place for every reason's words.
 *
 * Wording follows PostgreSQL's own where it has one; the hint names the setting that helps.
 */
import type { ErrorResponse } from './error-response.ts';
import type { PacketHeader } from './packet.ts';
import { MAX_PACKET_BYTES, MIN_PACKET_BYTES } from './packet.ts';
import type { NegotiationPolicy, RefusalReason, UpgradeRequest } from './state.ts';

/** A reason with the words for the client; null where the client could not read them. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly error: ErrorResponse | null;
}

const REQUEST_NAMES: Record<UpgradeRequest, string> = {
  'ssl-request': 'SSLRequest',
  'gssenc-request': 'GSSENCRequest',
};

const STUFFED_MESSAGES: Record<UpgradeRequest, string> = {
  'ssl-request': 'received unencrypted data after SSL request',
  'gssenc-request': 'received unencrypted data after GSSAPI encryption request',
};

/** A TLS client cannot read an ErrorResponse: direct TLS that is not allowed is closed in silence. */
export const DIRECT_TLS_REFUSED: Refusal = { reason: 'direct_tls_refused', error: null };

/** client_login_timeout passed before the negotiation ended. */
export const LOGIN_TIMEOUT: Refusal = {
  reason: 'login_timeout',
  error: { sqlstate: '57014', message: 'canceling authentication due to timeout', hint: null },
};

/** The proxy is being stopped. */
export const ADMIN_SHUTDOWN: Refusal = {
  reason: 'admin_shutdown',
  error: {
    sqlstate: '57P01',
    message: 'terminating connection due to administrator command',
    hint: null,
  },
};

/** Bytes were sent behind a request before its reply (the class of CVE-2021-23214). */
export function stuffedBytes(request: UpgradeRequest): Refusal {
  const hint = 'This is either a defect of the client or an attempted man-in-the-middle attack.';
  return {
    reason: 'stuffed_bytes',
    error: { sqlstate: '08P01', message: STUFFED_MESSAGES[request], hint },
  };
}

/** A request that was already answered came again. */
export function repeatedRequest(request: UpgradeRequest): Refusal {
  const message = `received a second ${REQUEST_NAMES[request]}`;
  return { reason: 'repeated_request', error: { sqlstate: '08P01', message, hint: null } };
}

/** A StartupMessage came in plaintext where TLS is required. */
export function tlsRequired(policy: NegotiationPolicy): Refusal {
  const needsCertificate = policy.sslmode === 'verify-ca';
  const settings = [
    'sslmode=require or stronger',
    ...(policy.sslnegotiation === 'direct' ? ['sslnegotiation=direct'] : []),
    ...(needsCertificate ? ['sslcert and sslkey'] : []),
  ];
  return {
    reason: 'tls_required',
    error: {
      sqlstate: '28000',
      message: needsCertificate
        ? 'this server requires TLS with a client certificate'
        : 'this server requires TLS',
      hint: `Connect with ${settings.join(', ')}.`,
    },
  };
}

/** An SSLRequest came where only direct TLS is allowed. */
export function negotiatedTlsRefused(): Refusal {
  return {
    reason: 'negotiated_tls_refused',
    error: {
      sqlstate: '28000',
      message: 'this server accepts TLS only without an SSLRequest',
      hint: 'Connect with sslnegotiation=direct (libpq 17 or newer).',
    },
  };
}

/** A header with a number out of bounds. */
export function invalidHeader(header: Extract<PacketHeader, { kind: 'invalid' }>): Refusal {
  switch (header.reason) {
    case 'protocol-major':
      return {
        reason: 'unsupported_protocol',
        error: {
          sqlstate: '0A000',
          message: `unsupported frontend protocol ${header.major}.${header.minor}: server supports 3.0 to 3.2`,
          hint: null,
        },
      };
    case 'length':
      return invalidLength(
        'invalid length of startup packet',
        `The length must be ${MIN_PACKET_BYTES} to ${MAX_PACKET_BYTES}: is the client speaking PostgreSQL's protocol?`,
      );
    case 'request-length':
      return invalidLength('invalid length of encryption request packet', null);
    case 'cancel-length':
      return invalidLength('invalid length of cancel request packet', null);
    default:
      return header satisfies never;
  }
}

function invalidLength(message: string, hint: string | null): Refusal {
  return { reason: 'invalid_length', error: { sqlstate: '08P01', message, hint } };
}
