//! Whether somebody on the way makes the largest segment smaller that an end of a TCP connection offers to take ("MSS clamping").
//!
//! On the way there it is seen: routers quote our SYN in what they say of it, options and all where they quote more than they must (tracebox:
//! Detal et al., IMC 2013). On the way back nothing is quoted; there only what the destination's offer and the path's MTU have to do with each
//! other tells.

/// What is known of the largest segments of a path, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Offers<'a> {
    /// What our SYN offered to take.
    pub sent: u16,
    /// Each hop before the destination, by its number, the nearest first: what our SYN offered when it got there, where its router answers and quotes
    /// that.
    pub quoted: &'a [(u8, Option<u16>)],
    /// Whether the destination answered, so that the last of them is the last before it.
    pub reached: bool,
    /// What the destination's SYN-ACK offered when it got here.
    pub received: Option<u16>,
    /// The largest segment that the path carries, once it is known.
    pub carried: Option<Carried>,
}

/// The largest segment that a path carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Its bytes.
    pub bytes: u16,
    /// Whether what makes it so small is on the way, with a router before it and another behind: neither our own link nor the destination's,
    /// whose own offer would be as small.
    pub on_the_way: bool,
}

/// What the offers show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clamp {
    /// Of ours, on the way there; nothing where too little is quoted to tell.
    pub there: Option<There>,
    /// Whether the destination's was made smaller on the way back; nothing where that cannot be told.
    pub back: Option<bool>,
}

/// What became of our offer on the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// It came to the last router before the destination as it was sent.
    Kept,
    /// It was made smaller.
    Reduced {
        /// The last hop that it came to as it was sent, of those whose routers tell; nothing where none does.
        after: Option<u8>,
        /// The first hop that it came to otherwise.
        at: u8,
        /// What it was then.
        to: u16,
    },
}

impl Clamp {
    /// What offers show.
    #[must_use]
    pub fn of(offers: &Offers<'_>) -> Self {
        let Offers { sent, quoted, reached, received, carried } = *offers;
        let reduced = quoted.iter().find_map(|(hop, offer)| Some((*hop, offer.filter(|offer| *offer < sent)?)));
        let there = match (reduced, quoted.last()) {
            (Some((at, to)), _) => {
                let before = quoted.iter().take_while(|(hop, _)| *hop < at).filter(|(_, offer)| offer.is_some());
                Some(There::Reduced { after: before.last().map(|(hop, _)| *hop), at, to })
            }
            (None, Some((_, Some(_)))) if reached => Some(There::Kept),
            (None, _) => None,
        };
        let back = match (received, carried) {
            // Nobody who makes offers fit the path leaves one that does not.
            (Some(offer), Some(Carried { bytes, .. })) if offer > bytes => Some(false),
            (Some(offer), Some(Carried { bytes, on_the_way: true })) if offer == bytes => Some(true),
            (_, _) => None,
        };
        Self { there, back }
    }

    /// Whether either was made smaller; nothing where nothing shows either.
    #[must_use]
    pub fn is_seen(&self) -> Option<bool> {
        match (self.there, self.back) {
            (Some(There::Reduced { .. }), _) | (_, Some(true)) => Some(true),
            (Some(There::Kept), _) | (_, Some(false)) => Some(false),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Offers<'_> = Offers {
        sent: 1460,
        quoted: &[(1, Some(1460)), (2, Some(1460))],
        reached: true,
        received: None,
        carried: None,
    };

    #[test]
    fn on_the_way_there_quotes_tell() {
        let there = |quoted, reached| Clamp::of(&Offers { quoted, reached, ..PLAIN }).there;
        let reduced = |after, at| Some(There::Reduced { after, at, to: 1360 });
        assert_eq!(there(&[(1, Some(1460)), (2, Some(1460))], true), Some(There::Kept));
        assert_eq!(there(&[(1, Some(1460)), (2, Some(1460))], false), None, "what is behind is not known");
        assert_eq!(there(&[(1, Some(1460)), (2, None)], true), None, "the last does not tell");
        assert_eq!(there(&[(1, None), (2, Some(1460))], true), Some(There::Kept));
        assert_eq!(there(&[], true), None);
        assert_eq!(there(&[(1, Some(1460)), (2, None), (4, Some(1360)), (5, Some(1360))], true), reduced(Some(1), 4));
        assert_eq!(there(&[(1, Some(1360))], false), reduced(None, 1));
        assert_eq!(there(&[(1, None), (2, Some(1360)), (3, None)], true), reduced(None, 2));
    }

    #[test]
    fn on_the_way_back_the_mtu_of_the_path_tells() {
        let back = |received, bytes, on_the_way| {
            Clamp::of(&Offers { received, carried: Some(Carried { bytes, on_the_way }), ..PLAIN }).back
        };
        assert_eq!(back(Some(1360), 1360, true), Some(true));
        assert_eq!(back(Some(1460), 1360, true), Some(false));
        assert_eq!(back(Some(1460), 1360, false), Some(false));
        assert_eq!(back(Some(1360), 1360, false), None, "the destination's own link may be as small");
        assert_eq!(back(Some(1200), 1360, true), None, "it has reasons of its own");
        assert_eq!(back(None, 1360, true), None);
        assert_eq!(Clamp::of(&Offers { received: Some(1460), ..PLAIN }).back, None);
    }

    #[test]
    fn one_is_seen_where_either_way_shows_it() {
        let reduced = Some(There::Reduced { after: None, at: 2, to: 1360 });
        for (there, back, seen) in [
            (None, None, None),
            (Some(There::Kept), None, Some(false)),
            (None, Some(false), Some(false)),
            (Some(There::Kept), Some(true), Some(true)),
            (reduced, Some(false), Some(true)),
            (reduced, None, Some(true)),
        ] {
            assert_eq!(Clamp { there, back }.is_seen(), seen, "{there:?} {back:?}");
        }
    }
}
