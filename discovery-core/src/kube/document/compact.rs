//! Documents that are kept, in little memory.

use std::sync::Arc;

use super::ApiResourceList;
use crate::Text;

/// The most lists of verbs that are compared with each new one. A server has fewer.
const MAX_KNOWN: usize = 32;

/// The lists of verbs that were seen, of which a server has a handful for thousands of resources.
#[derive(Debug, Default)]
pub(crate) struct Verbs {
    known: Vec<Arc<[Text]>>,
}

impl Verbs {
    /// Takes from a list what room its parsing has left, and shares its verbs with others.
    pub(crate) fn compact(&mut self, list: &mut ApiResourceList) {
        list.resources.shrink_to_fit();
        for resource in &mut list.resources {
            resource.short_names.shrink_to_fit();
            resource.categories.shrink_to_fit();
            if let Some(verbs) = &mut resource.verbs {
                self.share(verbs);
            }
        }
    }

    fn share(&mut self, verbs: &mut Arc<[Text]>) {
        match self.known.iter().find(|known| *known == verbs) {
            Some(known) => *verbs = Arc::clone(known),
            None if self.known.len() < MAX_KNOWN => self.known.push(Arc::clone(verbs)),
            None => {}
        }
    }
}
