/**
 * The log lines of connections: accept and negotiation (debug), TLS (debug), and one `conn.close`
 * per connection, wherever it ended. Identical failures are folded.
 */
import type { ConnectionReport, DataPlaneEvent } from '../data-plane/data-plane.ts';
import {
  closeFields,
  isTlsFailure,
  type LogFields,
  reportSeverity,
  tlsEstablishedFields,
} from '../data-plane/report.ts';
import type { ConnectionEnd, ConnectionInfo, ConnectionOutcome } from '../listener/connection.ts';
import type { DenialReason } from '../listener/gate.ts';
import type { ListenerObserver } from '../listener/listener.ts';
import { FailureFolder } from '../observability/failure-folder.ts';
import type { Logger } from '../observability/logger.ts';
import type { QuestionEvent } from './hooks.ts';

type Level = 'debug' | 'info' | 'warn' | 'error';

interface Line {
  readonly level: Level;
  readonly fields: LogFields & { readonly event: string };
  readonly error: unknown;
  readonly message: string;
}

/** Hears of every connection from listeners and data plane; owns the folding of failures. */
export class ConnectionLog implements ListenerObserver {
  readonly #logger: Logger;
  readonly #routeNames: readonly string[];
  readonly #failures: FailureFolder<Line>;

  /** `routeNames` by route id. */
  constructor(logger: Logger, routeNames: readonly string[]) {
    this.#logger = logger;
    this.#routeNames = routeNames;
    this.#failures = new FailureFolder((line, repeated) => this.#write(line, repeated));
  }

  /** Whether somebody reads debug lines; nothing is assembled for them otherwise. */
  get isDebugEnabled(): boolean {
    return this.#logger.isLevelEnabled('debug');
  }

  accepted(info: ConnectionInfo): void {
    if (this.isDebugEnabled) {
      this.#logger.debug(
        { event: 'conn.accept', ...this.#infoFields(info) },
        'connection accepted',
      );
    }
  }

  finished(info: ConnectionInfo, end: ConnectionEnd): void {
    const { outcome } = end;
    if (outcome.type === 'handed-off') {
      this.#negotiated(info, end, outcome);
      return;
    }
    const fields = {
      event: 'conn.close',
      ...this.#infoFields(info),
      bytes_in: end.receivedBytes,
      bytes_out: 0,
      duration_ms: Math.round(end.durationMillis),
      phase: 'negotiate',
      ...outcomeFields(outcome),
    };
    const error = 'error' in outcome && outcome.error instanceof Error ? outcome.error : undefined;
    const line = {
      level: outcomeLevel(end),
      fields,
      error: outcome.type === 'internal-error' ? error : error?.cause,
      message: 'connection closed',
    };
    this.#writeFolded(line, outcome.type !== 'closed' && line.level !== 'debug');
  }

  acceptFailed(routeId: number, error: Error): void {
    const fields = { event: 'listener.accept', route: this.#routeName(routeId) };
    const key = `${routeId} accept ${error.message}`;
    const message = 'a connection could not be accepted';
    this.#failures.add(key, key, { level: 'error', fields, error, message });
  }

  /** What the data plane tells. */
  dataPlaneEvent(event: Exclude<DataPlaneEvent, QuestionEvent>): void {
    switch (event.type) {
      case 'connections-closed':
        for (const report of event.reports) {
          this.#closed(report);
        }
        break;
      case 'tls-established':
        this.#tlsEstablished(event);
        break;
      case 'common-name-used':
        this.#commonNameUsed(event);
        break;
      case 'worker-restarted':
        this.#logger.error(
          { event: 'worker.restart', worker: event.worker, reason: event.reason },
          'a data-plane worker was restarted; its sessions are lost',
        );
        break;
      case 'thread-restarted':
        this.#logger.error(
          { event: 'thread.restart', thread: event.thread, reason: event.reason },
          'a data-plane thread was restarted; sessions go on',
        );
        break;
      default:
        event satisfies never;
    }
  }

  /** Writes the counts of failures that are still folded. */
  flush(): void {
    this.#failures.flush();
  }

  #negotiated(
    info: ConnectionInfo,
    end: ConnectionEnd,
    outcome: Extract<ConnectionOutcome, { type: 'handed-off' }>,
  ): void {
    if (this.isDebugEnabled) {
      const fields = {
        event: 'negotiate',
        ...this.#infoFields(info),
        encryption: outcome.encryption,
        is_cancel: outcome.isCancel,
        duration_ms: Math.round(end.durationMillis),
      };
      this.#logger.debug(fields, 'negotiation ended');
    }
  }

  #closed(report: ConnectionReport): void {
    const route = this.#routeName(report.routeId);
    const level = reportSeverity(report);
    const fields = { event: 'conn.close', route, ...closeFields(report) };
    const message = isTlsFailure(report) ? 'TLS failed' : 'connection closed';
    this.#writeFolded({ level, fields, error: undefined, message }, level === 'warn');
  }

  #tlsEstablished(event: Extract<DataPlaneEvent, { type: 'tls-established' }>): void {
    const fields = {
      event: `tls.${event.side}`,
      connection_id: event.connectionId,
      route: this.#routeName(event.routeId),
      ...tlsEstablishedFields(event.side, event.tls),
    };
    this.#logger.debug(fields, 'TLS established');
  }

  #commonNameUsed(event: Extract<DataPlaneEvent, { type: 'common-name-used' }>): void {
    const fields = {
      event: 'tls.common_name',
      route: this.#routeName(event.routeId),
      backend_addr: event.backendAddr,
      backend_cert_subject: event.subject,
      backend_cert_sha256: event.sha256,
    };
    const message =
      "the backend's certificate has no dNSName and was accepted by its common name; issue it with a subjectAltName";
    this.#logger.warn(fields, message);
  }

  #writeFolded(line: Line, isFailure: boolean): void {
    if (!isFailure) {
      this.#write(line, 0);
      return;
    }
    const { fields } = line;
    const kind = [
      fields['route'],
      fields['phase'],
      fields['reason'],
      fields['alert'],
      fields['tls_failure'],
    ].join(' ');
    const host = String(fields['client_addr']).replace(/:\d+$/, '');
    this.#failures.add(`${kind} ${host} ${fields['error'] ?? ''}`, kind, line);
  }

  #write({ level, fields, error, message }: Line, repeated: number): void {
    const all = {
      ...fields,
      ...(error === undefined ? {} : { err: error }),
      ...(repeated === 0 ? {} : { repeated }),
    };
    this.#logger[level](all, message);
  }

  #infoFields({ connectionId, routeId, peer, localAddress }: ConnectionInfo) {
    return {
      connection_id: connectionId,
      route: this.#routeName(routeId),
      client_addr: peer,
      listener_addr: localAddress,
    };
  }

  #routeName(routeId: number): string {
    return this.#routeNames[routeId] ?? String(routeId);
  }
}

/** What the reason alone does not say. */
const DENIALS: Partial<Record<DenialReason, LogFields>> = {
  untrusted_proxy: { error: 'its address is not in trusted_proxies' },
  too_many_connections: { error: 'its address has max_client_conn_per_ip that still negotiate' },
};

function outcomeFields(outcome: ConnectionOutcome): LogFields {
  switch (outcome.type) {
    case 'refused':
      return outcome.error === null
        ? { reason: outcome.reason }
        : {
            reason: outcome.reason,
            sqlstate: outcome.error.sqlstate,
            error: outcome.error.message,
          };
    case 'adopt-failed':
      return { reason: outcome.reason, code: outcome.error.code, error: outcome.error.message };
    case 'internal-error':
      return { reason: outcome.reason, error: String(outcome.error) };
    case 'header-refused':
      return { reason: outcome.reason, error: outcome.problem };
    case 'denied':
      return { reason: outcome.reason, ...DENIALS[outcome.reason] };
    case 'closed':
      return { reason: outcome.reason };
    case 'handed-off':
      return {};
    default:
      return outcome satisfies never;
  }
}

/** A connection without a byte is a TCP probe, however it ended, and is never more than debug. */
function outcomeLevel({ outcome, receivedBytes }: ConnectionEnd): Level {
  switch (outcome.type) {
    case 'internal-error':
      return 'error';
    case 'adopt-failed':
      return outcome.error.code === 'PGTLS_TOO_MANY_CONNECTIONS' ? 'warn' : 'error';
    case 'header-refused':
      return 'warn';
    case 'denied':
      return outcome.reason === 'untrusted_proxy' ? 'warn' : 'info';
    case 'refused':
    case 'closed':
    case 'handed-off':
      return receivedBytes === 0 ? 'debug' : 'info';
    default:
      return outcome satisfies never;
  }
}
