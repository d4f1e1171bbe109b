import { expect, it, vi } from 'vitest';
import { SignalRequest } from '../../src/cli/signal-request.ts';

it('what was asked for before it could be done is done once it can, and then each time', () => {
  const request = new SignalRequest();
  const act = vi.fn();
  request.ask();
  request.ask();
  request.serve(act);
  expect(act).toHaveBeenCalledTimes(1);
  request.ask();
  expect(act).toHaveBeenCalledTimes(2);
});

it('what nobody asked for is not done', () => {
  const act = vi.fn();
  new SignalRequest().serve(act);
  expect(act).not.toHaveBeenCalled();
});
