import { describe, expect, it } from 'vitest';
import { type AdvisedEvent, commandsFor } from '../../src/cli/advice.ts';
import { PARK_REASONS, type ParkReason } from '../../src/payments/fact.ts';

const event = (over: Partial<AdvisedEvent> = {}): AdvisedEvent => ({
  eventId: 'evt_a',
  sourceId: 'src_stripe',
  provider: 'stripe',
  state: 'parked',
  reason: null,
  paymentId: 'pi_a',
  ...over,
});

describe('the commands that mend an event', () => {
  it.each(Object.keys(PARK_REASONS) as ParkReason[])('are there for one that is parked as %s', (reason) => {
    const commands = commandsFor(event({ reason }), '');
    expect(commands.length).toBeGreaterThan(0);
    for (const command of commands) expect(command).toMatch(/^npx chokin \w+ /);
    // Each ends with what takes the event off the list: it is applied after all, or set aside.
    expect(commands.at(-1)).toMatch(/^npx chokin events (replay|dismiss) evt_a/);
  });

  it('name whose payment it is where nobody says so', () => {
    expect(commandsFor(event({ reason: 'no_customer' }), ' --merchant bus_b')).toEqual([
      'npx chokin customers list --email … --merchant bus_b',
      'npx chokin events replay evt_a --customer cus_… --merchant bus_b',
    ]);
  });

  it('say what no command does, where that has to be done first', () => {
    expect(commandsFor(event({ reason: 'unsupported_currency' }), ' --merchant bus_b')).toEqual([
      'npx chokin events replay evt_a --merchant bus_b  # first add it to WALLET_CURRENCIES where the service runs, and restart that',
    ]);
  });

  it('fetch the payment that an event waits for where the provider can be asked', () => {
    const waiting = { state: 'waiting' } as const;
    const fetching = ['npx chokin reconcile --source src_stripe --since 30d --dry-run'];
    expect(commandsFor(event(waiting), '')).toEqual(fetching);
    expect(commandsFor(event({ ...waiting, provider: 'paypal' }), '')).toEqual([]);
  });

  it('hold what came from outside as one word, whatever a shell would make of it', () => {
    const [look] = commandsFor(event({ reason: 'malformed', paymentId: "pi'; rm -rf ~ #" }), '');
    expect(look).toBe("npx chokin payments show 'pi'\\''; rm -rf ~ #'");
  });

  it('are none where there is nothing to do', () => {
    for (const state of ['applied', 'ignored', 'dismissed'] as const)
      expect(commandsFor(event({ state }), '')).toEqual([]);
  });
});
