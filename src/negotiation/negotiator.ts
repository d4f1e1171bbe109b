/**
 * Drives the state machine of one connection: feeds it events, carries its effects to the socket.
 *
 * The socket itself belongs to the listener, which implements {@link NegotiationPort}.
 */
import type { ErrorResponse } from './error-response.ts';
import type {
  Encryption,
  NegotiationEffect,
  NegotiationEvent,
  NegotiationOutcome,
  NegotiationPolicy,
  NegotiationState,
  Reply,
} from './state.ts';
import { INITIAL_STATE } from './state.ts';
import { transition } from './transition.ts';

/** What a negotiation asks of the owner of the socket. Each method may report events at once. */
export interface NegotiationPort {
  /**
   * Writes the byte and reports `reply-written` when the kernel has it; or at once, where whoever gets the socket writes it
   * before all else.
   */
  reply(reply: Reply): void;
  /** Gives the socket away; `prefix` are bytes already read that nobody has consumed. */
  handOff(encryption: Encryption, prefix: Buffer | null): void;
  /** Sends the error, if any, and closes. */
  refuse(error: ErrorResponse | null): void;
  /** Closes without a word. */
  close(): void;
}

/** The negotiation of one connection; `handle` is the only way in. */
export class Negotiator {
  readonly #policy: NegotiationPolicy;
  readonly #port: NegotiationPort;
  #state: NegotiationState = INITIAL_STATE;

  constructor(policy: NegotiationPolicy, port: NegotiationPort) {
    this.#policy = policy;
    this.#port = port;
  }

  /** How it ended, or null while it lasts. */
  get outcome(): NegotiationOutcome | null {
    return this.#state.type === 'finished' ? this.#state.outcome : null;
  }

  /** Takes one event; the effects have been carried out when this returns. */
  handle(event: NegotiationEvent): void {
    const { state, effects } = transition(this.#state, event, this.#policy);
    this.#state = state;
    for (const effect of effects) {
      this.#perform(effect);
    }
  }

  #perform(effect: NegotiationEffect): void {
    switch (effect.type) {
      case 'reply':
        this.#port.reply(effect.reply);
        break;
      case 'hand-off':
        this.#port.handOff(effect.encryption, effect.prefix);
        break;
      case 'refuse':
        this.#port.refuse(effect.error);
        break;
      case 'close':
        this.#port.close();
        break;
      default:
        effect satisfies never;
    }
  }
}
