/**
 * How many rounds a test of a fault makes: `few` in `npm test`, `many` in `npm run test:faults`, which may take longer.
 */
export function rounds(few: number, many: number): number {
  return process.env.FAULTS === 'all' ? many : few;
}
