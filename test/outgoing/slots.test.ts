import { expect, it } from 'vitest';
import { DeliverySlots, putOffSeconds } from '../../src/outgoing/embedded/slots.ts';
import { endpointProblem } from '../../src/outgoing/endpoint-rules.ts';

const of = (merchantId: string, endpointId: string) => ({ merchantId, endpointId });

it('a failing endpoint has one probe, and all those of a merchant have four, whatever others do', () => {
  const slots = new DeliverySlots();
  expect([slots.enterProbe(of('m', '1')), slots.enterProbe(of('m', '1'))]).toEqual([true, false]);
  expect(['2', '3', '4', '5'].map((id) => slots.enterProbe(of('m', id)))).toEqual([true, true, true, false]);
  expect(slots.enterProbe(of('other', '1'))).toBe(true);
  slots.leaveProbe(of('m', '2'));
  expect([slots.enterProbe(of('m', '5')), slots.enterProbe(of('m', '2'))]).toEqual([true, false]);
});

it('a silent endpoint is slow until it answers', () => {
  const slots = new DeliverySlots();
  slots.noteAnswer(of('m', '1'), true);
  expect([slots.isSlow(of('m', '1')), slots.isSlow(of('m', '2')), slots.isSlow(of('n', '1'))]).toEqual([
    true,
    false,
    false,
  ]);
  slots.noteAnswer(of('m', '1'), false);
  expect(slots.isSlow(of('m', '1'))).toBe(false);
});

it('no probe ends that was not begun, and what is known of silent endpoints is bounded', () => {
  const slots = new DeliverySlots();
  expect(() => slots.leaveProbe(of('m', '1'))).toThrow('a probe ended that was not begun');
  for (let index = 0; index < 100_001; index += 1) slots.noteAnswer(of('m', String(index)), true);
  expect([slots.isSlow(of('m', '0')), slots.isSlow(of('m', '100000'))]).toEqual([false, true]);
});

it.each([
  ['a header twice', { 'X-Key': '1', 'x-key': '2' }, 'headers: one is there twice.'],
  [
    'more headers than there may be',
    Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`X-${index}`, '1'])),
    expect.stringMatching(/^headers: wants \d+ or fewer/),
  ],
])('an endpoint with %s is refused', (_, headers, problem) => {
  expect(endpointProblem({ headers }, false)).toEqual(problem);
});

it('what is put off comes back spread over some time', () => {
  expect([putOffSeconds(0), putOffSeconds(0.5), putOffSeconds(1)]).toEqual([15, 67.5, 120]);
});
