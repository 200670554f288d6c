//! The few hops of a path that have a name of their own, so that dashboards and alerts follow them wherever they are.

/// What a hop is on its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The first that answered.
    First,
    /// The last of the ISP's own, where the path is seen to leave it.
    IspEdge,
    /// The one behind the largest step of the round-trip time.
    DelayOnset,
    /// The destination, or the last that answered.
    Last,
}

impl Role {
    /// Every role, in the order of this list.
    pub const ALL: [Self; 4] = [Self::First, Self::IspEdge, Self::DelayOnset, Self::Last];

    /// The name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::IspEdge => "isp_edge",
            Self::DelayOnset => "delay_onset",
            Self::Last => "last",
        }
    }
}

/// The indices of the hops that have a role. `answered` says which hops answered, `isp` whose they are: the ISP's, another's, or nobody
/// knows (as of silent ones), and `delay_onset` which one has that role.
#[must_use]
pub(super) fn roles(answered: &[bool], isp: &[Option<bool>], delay_onset: Option<usize>) -> Vec<(Role, usize)> {
    let index = |role| match role {
        Role::First => answered.iter().position(|answered| *answered),
        Role::IspEdge => isp_edge(isp),
        Role::DelayOnset => delay_onset,
        Role::Last => answered.iter().rposition(|answered| *answered),
    };
    Role::ALL.into_iter().filter_map(|role| Some((role, index(role)?))).collect()
}

/// The last of the ISP's hops before the first that is another's. Nothing where none is known to be the ISP's, or where the path is not
/// seen to leave it. What comes before the ISP (one's own routers) is not looked at.
fn isp_edge(isp: &[Option<bool>]) -> Option<usize> {
    let first = isp.iter().position(|hop| *hop == Some(true))?;
    let beyond = first + isp[first..].iter().position(|hop| *hop == Some(false))?;
    isp[..beyond].iter().rposition(|hop| *hop == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_of_the_isp_is_its_last_hop_before_the_first_of_another() {
        let edge = |hops: &str| {
            let known = |c| match c {
                'i' => Some(true),
                'x' => Some(false),
                _ => None,
            };
            isp_edge(&hops.chars().map(known).collect::<Vec<_>>())
        };
        for (hops, expected) in [
            ("iixx", Some(1)),
            ("xiixx", Some(2)),
            ("x?i?i?x", Some(4)),
            ("i???x", Some(0)),
            // It comes back to the ISP, which it has left all the same.
            ("iixix", Some(1)),
            // Never seen inside, or never outside.
            ("xxx", None),
            ("?x?", None),
            ("xiii", None),
            ("ii??", None),
            ("", None),
        ] {
            assert_eq!(edge(hops), expected, "{hops}");
        }
    }

    #[test]
    fn each_role_is_had_by_one_hop_at_most() {
        let answered = [false, true, true, false, true, false];
        let isp = [None, Some(true), Some(true), None, Some(false), None];
        let all = [(Role::First, 1), (Role::IspEdge, 2), (Role::DelayOnset, 2), (Role::Last, 4)];
        assert_eq!(roles(&answered, &isp, Some(2)), all);
        assert_eq!(roles(&answered, &[None; 6], None), [(Role::First, 1), (Role::Last, 4)]);
        assert_eq!(roles(&[false], &[None], None), []);
        assert_eq!(roles(&[], &[], None), []);
        let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
        assert_eq!(names, ["first", "isp_edge", "delay_onset", "last"]);
    }
}
