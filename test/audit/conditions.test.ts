import { expect, it } from 'vitest';
import { normalForm } from '../../src/audit/conditions.ts';

it.each([
  ['(((a >= 0) AND (a <= 9)) AND (b > 0))', '((a >= 0) AND (a <= 9) AND (b > 0))'],
  ['((a) AND ((b) AND ((c) AND (d))))', '((a) AND (b) AND (c) AND (d))'],
  ['((a) AND ((b) OR (c)))', '((a) AND ((b) OR (c)))'],
  ['(((a) OR (b)) OR (c))', '((a) OR (b) OR (c))'],
  // What is not a member of the chain keeps its brackets, and so does what is in quotes.
  ['((a) AND NOT ((b) AND (c)))', '((a) AND NOT ((b) AND (c)))'],
  ["((a ~ '((x) AND (y))') AND (b))", "((a ~ '((x) AND (y))') AND (b))"],
  ["((a ~ '(it''s'::text) AND ((b) AND (c)))", "((a ~ '(it''s'::text) AND (b) AND (c))"],
  ['((a) AND f((b) AND (c)))', '((a) AND f((b) AND (c)))'],
  ["(a = ANY (ARRAY['z'::text, 'b'::text]))", "(a = ANY (ARRAY['b'::text, 'z'::text]))"],
  ['CHECK ((((a) AND (b)) AND (c))) NOT VALID', 'CHECK (((a) AND (b) AND (c))) NOT VALID'],
])('%s is the same as %s', (text, flat) => {
  expect(normalForm(text)).toBe(flat);
  expect(normalForm(flat)).toBe(flat);
});
