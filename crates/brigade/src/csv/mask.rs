//! Sixty-four bytes of CSV at a time, as bits: which of them end cells and rows.

use wide::u8x16;

/// Bytes looked at together, a bit each.
pub(super) const BLOCK: usize = 64;

/// What the bytes of one block are; the lowest bit is the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Commas and line ends outside quotes.
    pub(super) stops: u64,
    /// The line ends of these.
    pub(super) row_ends: u64,
    /// Line feeds, also those in quotes.
    pub(super) newlines: u64,
    /// Whether there is a quote that does more than enclose a cell. What is said here ends before it.
    pub(super) odd: bool,
}

/// What one block must know of those before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// All ones inside quotes.
    quoted: u64,
    /// One if a cell begins here.
    stopped: u64,
    /// One if a quote was closed just before.
    closed: u64,
}

impl Before {
    /// The beginning of a row.
    pub(super) const ROW: Self = Self { quoted: 0, stopped: 1, closed: 0 };
}

impl Block {
    /// Reads a block, and leaves in `before` what the next must know.
    pub(super) fn read(bytes: &[u8; BLOCK], before: &mut Before) -> Self {
        let (mut quotes, mut newlines, mut line_ends, mut commas) = (0, 0, 0, 0);
        let (parts, _) = bytes.as_chunks::<16>();
        for (part, bytes) in parts.iter().enumerate() {
            let bytes = u8x16::new(*bytes);
            let is = |byte| bytes.simd_eq(u8x16::splat(byte));
            let newline = is(b'\n');
            let bits = |found: u8x16| u64::from(found.to_bitmask()) << (part * 16);
            quotes |= bits(is(b'"'));
            newlines |= bits(newline);
            line_ends |= bits(newline | is(b'\r'));
            commas |= bits(is(b','));
        }
        // A byte is in quotes if the quotes up to it are odd in number: the opening one is, the
        // closing one is not.
        let mut quoted = quotes;
        for distance in [1, 2, 4, 8, 16, 32] {
            quoted ^= quoted << distance;
        }
        quoted ^= before.quoted;
        let row_ends = line_ends & !quoted;
        let stops = commas & !quoted | row_ends;
        let (opening, closing) = (quotes & quoted, quotes & !quoted);
        // A quote may open at the beginning of a cell only, and a cell must end where it closes.
        let odd = opening & !(stops << 1 | before.stopped) | (closing << 1 | before.closed) & !stops;
        *before = Before {
            quoted: if quoted >> 63 == 1 { u64::MAX } else { 0 },
            stopped: stops >> 63,
            closed: closing >> 63,
        };
        // Below the lowest of the odd ones; everything if there is none.
        let even = (odd & odd.wrapping_neg()).wrapping_sub(1);
        Self { stops: stops & even, row_ends: row_ends & even, newlines: newlines & even, odd: odd != 0 }
    }

    /// Strikes out what was dealt with.
    pub(super) fn forget(&mut self, dealt_with: u64) {
        self.stops &= !dealt_with;
        self.row_ends &= !dealt_with;
        self.newlines &= !dealt_with;
    }
}
