/**
 * How many rounds a test of a fault goes: `few` in `npm test`, `many` in `npm run test:faults`, which has the time.
 */
export function rounds(few: number, many: number): number {
  return process.env.FAULTS === 'all' ? many : few;
}
